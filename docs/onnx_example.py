"""A mask from a picture and an exported model: python onnx_example.py model.onnx picture.png mask.png"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

model, picture, mask = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
about = json.loads(session.get_modelmeta().custom_metadata_map["segkit"])

mode = {1: "L", 3: "RGB"}[about["reader"]["channels"]]
pixels = np.atleast_3d(np.asarray(Image.open(picture).convert(mode)))  # uint8 [height, width, channels]
probabilities = session.run(None, {"pixels": pixels[None]})[0][0]  # float32 [maps, height, width]

labels = probabilities.argmax(0) if about["task"] == "multiclass" else probabilities[-1] >= 0.5
Image.fromarray((labels * (255 // max(1, labels.max()))).astype(np.uint8)).save(mask)
