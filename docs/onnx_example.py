"""A mask from an 8-bit picture and an exported model: python onnx_example.py model.onnx picture.png mask.png"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

model, picture, mask = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
about = json.loads(session.get_modelmeta().custom_metadata_map["segkit"])
image = ImageOps.exif_transpose(Image.open(picture))  # as cameras say how they were held
if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
    sys.exit(f"{picture}: mode {image.mode}; Pillow would cut its values to 8 bits")
pixels = np.atleast_3d(np.asarray(image.convert({1: "L", 3: "RGB"}[about["reader"]["channels"]])))
probabilities = session.run(None, {"pixels": pixels[None]})[0][0]  # float32 [maps, height, width]
threshold = about["about"].get("predict", {}).get("threshold", 0.5)
labels = probabilities.argmax(0) if about["task"] == "multiclass" else probabilities[-1] >= threshold
Image.fromarray((labels * (255 // max(1, labels.max()))).astype(np.uint8)).save(mask)
