"""Who calls us: thin plugin files that run inside yum or dnf and start the engine; standard library only."""
