"""The JSON Schemas of whole documents, assembled from the spec types."""

from __future__ import annotations

from lmconf.schema.json_schema import Schema, SchemaWriter
from lmconf.spec.lm import LM, LMSpec
from lmconf.spec.profile import PROFILE, SEVERAL, LMDocument, ProfileDocument, ProfileSpec

__all__ = ["AUTHORED_ID", "RESOLVED_ID", "authored_schema", "resolved_schema"]

AUTHORED_ID = "urn:lmconf:v1"
RESOLVED_ID = "urn:lmconf:resolved:v1"

# One LM has a model, or has that of its members.
_ONE: list[Schema] = [{"required": ["model"]}, {"required": ["pool"]}]
_PARKED: Schema = {"^x-": {"description": "Parked: anchors for use elsewhere in this file."}}


def authored_schema() -> Schema:
    """Return the JSON Schema of what a person writes in a file: one LM, or a profile of several.

    A document that says neither form, since it only extends others, may hold the keys of either.
    """
    writer = SchemaWriter("authored")
    one, many = writer.reference(LMDocument), writer.reference(ProfileDocument)
    for name in (LMDocument.__name__, ProfileDocument.__name__):
        writer.defs[name]["patternProperties"] = _PARKED
    words = ("use", "$append", "$prepend", "$unset", "$value")
    block = {"type": "object", "not": {"anyOf": [{"required": [word]} for word in words]}}
    several: list[Schema] = [{"required": [key]} for key in SEVERAL]
    several.append({"required": ["callbacks"], "properties": {"callbacks": block}})
    return writer.finish(
        "An lmconf document",
        AUTHORED_ID,
        {
            "description": "Language models: one (`model` at the top) or several (`lms`).",
            "type": "object",
            "if": {"anyOf": _ONE},
            "then": one,
            "else": {"if": {"anyOf": several}, "then": many, "else": {"anyOf": [many, one]}},
        },
    )


def resolved_schema() -> Schema:
    """Return the JSON Schema of what `dump_state` gives: composed, rendered and self-contained."""
    writer = SchemaWriter("resolved")
    one, many = writer.schema(LM), writer.schema(PROFILE)
    version = {"$ref": f"#/$defs/{ProfileSpec.__name__}/properties/lmconf"}
    lm = writer.defs[LMSpec.__name__]
    lm["properties"]["lmconf"] = version
    lm["required"] = [name for name in lm.get("required", ()) if name != "model"]
    lm["anyOf"] = _ONE
    return writer.finish(
        "A state of lmconf",
        RESOLVED_ID,
        {
            "description": "The state of one LM (`model` at the top) or of a profile (`lms`).",
            "type": "object",
            "if": {"required": ["lms"]},
            "then": many,
            "else": one,
        },
    )
