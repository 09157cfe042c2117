"""The APIs of OpenAI, for servers that speak them themselves."""
