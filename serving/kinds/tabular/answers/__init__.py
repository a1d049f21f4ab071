"""What a tabular model answers: one form per task, with its part of the response, the tensors and the document."""
