"""HTTP/1.1 and WebSocket protocols on uvicorn."""
