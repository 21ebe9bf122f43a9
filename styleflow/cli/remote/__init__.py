"""The commands that speak to a service over its REST API, wherever it runs."""
