"""A package, so that test files here may share names with those beside it."""
