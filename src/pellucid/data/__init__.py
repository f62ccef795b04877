"""Documents become tokens, tokens a corpus. Needs no PyTorch.

files      a file of any ending -> its characters: packings, encodings, line ends
rows       a file of rows (JSON lines, JSON, CSV, Parquet), or a text file's parts, with their lines
documents  what a row means: a text, a conversation, a pair of replies. One table of shapes
turns      the parts that rows of all shapes are made of
preferences  two replies to one prompt, as files hold them
sources    many files -> one stream of documents; what is bad or empty is counted
split      which documents are held out, and a sample for the vocabulary: the first reading
tokens     documents -> ids, and which of them are learned: the second reading
pairs      pairs of replies -> ids
corpus     token files with a card, memory-mapped
prepare    all of it in one call: texts -> the folder that a run learns from
"""
