"""The commands of `lmconf`, one file each."""
