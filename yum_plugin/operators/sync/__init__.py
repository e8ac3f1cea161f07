"""A mirror kept right: fetched beside what is published, proven, and only then switched to."""
