"""``pointsman bench``: figures about this machine, this database and this table. Nothing here touches the configured database's data."""
