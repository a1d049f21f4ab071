"""Classes of the user's: values of their input type in, values of their output type out."""
