"""BentoML service classes, the application factory and service configuration."""
