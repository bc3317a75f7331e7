"""Models of other projects as model folders; docs/importers.md says how one is written."""
