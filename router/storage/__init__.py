"""The durable log: tables, the two stores behind ``router.ports.Store``, and the group-commit writer. Import the module you need."""
