"""After the training: leave out the channels of the trunk that matter least.

Each block of the trunk has many channels inside. Its last layer, `project`, sums them,
each times a weight, into the few that come out. Some channels make most of that.
Without the others the network is a fifth faster and a third smaller, with nearly the
same F1: README.md has the figures.
"""

import torch

# Leave out channels that together bring less than this part of what all bring: see
# channels_to_keep().
SHARE = 0.06
# cv2.dnn computes 8 channels at a time: so leave out a multiple of 8.
CHANNELS_AT_A_TIME = 8
# How much refit() shrinks the new weights.
RIDGE = 1e-5


@torch.no_grad()
def prune(trunk, batches):
    """Leave out channels of each block of the trunk, in place. `project`, its last
    convolution, gets new weights for the others, so that the block gives nearly the
    same as before, at least for pictures like these.

    batches: of pictures; each batch (n, 3, height, width), float32 from 0 to 1. fade()
    mixes each picture with some grey."""
    # What goes into a block, for each batch: (n, channels, height, width).
    inputs = []
    for number, images in enumerate(batches):
        inputs.append(trunk.before_blocks(fade(images, seed=number)))
    for block in trunk.blocks:
        mean, covariance = measure(block, inputs)
        # What goes into the next block: computed before this one loses channels.
        inputs = [block(features) for features in inputs]
        # The block's convolutions. (Each of its layers is a convolution and what comes
        # after that, such as ReLU.) Block 0 has no expand: the stem makes its channels.
        *expand, depthwise, project = [layer[0] for layer in block.block]
        if not expand:
            expand = [trunk.stem[0]]
        # (outputs, channels)
        weights = project.weight[:, :, 0, 0].double()
        kept = channels_to_keep(covariance, weights)
        new_weights = refit(covariance, weights, kept)
        # What all channels give on average, minus what the kept ones give now.
        missing = weights @ mean - new_weights @ mean[kept]
        project.weight.data = new_weights.float()[:, :, None, None]
        project.bias += missing.float()
        # Those before it: compute the kept channels only.
        for convolution in (*expand, depthwise):
            convolution.weight.data = convolution.weight[kept]
            convolution.bias.data = convolution.bias[kept]
        depthwise.groups = len(kept)


def measure(block, inputs):
    """Mean and covariance of a block's channels, just before project, over all places
    of all pictures: (channels,) and (channels, channels), float64."""
    places = 0
    total = 0
    products = 0
    for features in inputs:
        # From (n, channels, height, width) to (channels, places).
        values = block.block[:-1](features).transpose(0, 1).flatten(1)
        places += values.shape[1]
        # double(), to add up the batches: float32 would lose too much.
        total += values.sum(1).double()
        products += (values @ values.T).double()
    mean = total / places
    return mean, products / places - torch.outer(mean, mean)


def fade(images, seed):
    """Mix each picture with a grey, from black to white. Which grey, and how much of
    it, is random. Some channels matter only in faint or dark pictures."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(images), 1, 1, 1)
    contrast = 0.15 + 0.85 * torch.rand(shape, generator=generator)
    grey = torch.rand(shape, generator=generator)
    return grey + contrast * (images - grey)


def channels_to_keep(covariance, weights):
    """Which channels to keep: their indices, in order.

    What a channel brings is how much it varies times how large its weights are: what
    never varies can go into the bias."""
    deviation = covariance.diagonal().clamp(min=0).sqrt()
    brings = deviation * weights.norm(dim=0)
    # From the channel that brings least to the one that brings most.
    order = brings.argsort()
    shares = brings[order].cumsum(0) / brings.sum()
    left_out = int((shares < SHARE).sum())
    left_out -= left_out % CHANNELS_AT_A_TIME
    return order[left_out:].sort().values


def refit(covariance, weights, kept):
    """New weights for the kept channels: with them project gives nearly what it gave
    with all channels (least squares). Shapes: (outputs, channels) -> (outputs, kept)"""
    of_kept = covariance[kept][:, kept]
    # A little more on the diagonal keeps the weights small: large ones would fit these
    # pictures only (ridge regression).
    of_kept.diagonal().add_(RIDGE * covariance.diagonal().mean())
    # The new weights N give nearly what all channels gave: the sum of the squared
    # differences over all places is least where its derivative is 0. This means:
    # of_kept @ N.T = covariance[kept] @ weights.T. solve() finds N.T. (The means do not
    # matter here: prune() puts them into the bias.)
    return torch.linalg.solve(of_kept, covariance[kept] @ weights.T).T
