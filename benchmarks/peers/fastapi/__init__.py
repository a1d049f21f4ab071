"""FastAPI on uvicorn with the model in the same process."""
