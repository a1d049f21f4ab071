"""FastAPI on uvicorn, the model in the same process."""
