"""From what a client sent to the packed items of a job. Reads files, within limits; knows no models and no HTTP.

What spoils everything, such as another header or a broken archive, is refused as a whole: InputError. What spoils one
item is that item's: it is kept with its fault, and its neighbours are answered.

order      what is to be decoded, and what came of it
cells      the text of one cell as a value of its column
tables     rows out of CSV, lines of JSON, Parquet
archives   images out of zip and tar
folders    images out of a folder of this machine
forms      images and files out of a multipart form
users      users out of JSON, lines of JSON, CSV
decode     one of these, by kind and content type
child      the same in a process of its own, with limits on memory and processor time
"""
