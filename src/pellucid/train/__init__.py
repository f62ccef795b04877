"""Training: makes the weights. Needs the extras `[torch,train]`; config and adapter do not.

config        what a run is: few fields, each with its help, written beside what it makes
task          what a run learns from and by which loss; three of them:
language        language modelling: pretraining and finetuning on a corpus
preference      of two replies, the better one (DPO)
talk            the talk's small model, in seconds
trainer       the one loop: rows -> loss -> gradients -> step; saves, goes on, measures
run           a run as a person starts it: its corpus, going on, signals, samples
describe      what a run would be, and what it was
view, plot, tensorboard    the losses on a terminal, as a picture, in TensorBoard
log           one line a step
snapshots     the weights at chosen moments, to look at how it learned
state         a run's checkpoints
batches       which rows are taken at which step
optimizer     which parameters are changed how; muon: its step for many equal matrices at once
average       the mean of the weights over the last steps
module        the model's weights as torch modules, and where other code may wrap a block
loss          the loss over the vocabulary, some rows of logits at a time
memory        what a step frees is kept for the next
distributed   several processes
lora, adapter   a small adapter beside frozen weights; on disk, and merged
"""
