"""The demo: the real service over HTTP, callers that report late and in part, and providers that are scripted or recorded."""
