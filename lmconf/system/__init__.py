"""What any room needs of the machine: processes, threads, signals, forks, files, tracebacks."""
