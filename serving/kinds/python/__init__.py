"""User-defined classes: values of their input type in, values of their output type out."""
