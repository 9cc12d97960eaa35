"""A mask from an 8-bit picture and an exported model: python onnx_example.py model.onnx picture.png mask.png"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

model, picture, mask = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
about = json.loads(session.get_modelmeta().custom_metadata_map["segkit"])
mode = {1: "L", 3: "RGB"}.get(about["reader"]["channels"])
image = ImageOps.exif_transpose(Image.open(picture))  # as cameras say how they were held
if not mode or about["task"] == "multilabel" or about["reader"].get("mpp") or image.mode[0] not in "1LPR":
    sys.exit(f"{picture}: mode {image.mode}; this takes 8-bit pictures, and models of one mask at any resolution")
pixels = np.atleast_3d(np.asarray(image.convert(mode)))
maps = session.run(None, {"pixels": pixels[None]})[0][0]  # probabilities, float32 [maps, height, width]
labels = maps.argmax(0) if len(maps) > 1 else maps[0] >= about["about"].get("predict", {}).get("threshold", 0.5)
Image.fromarray((labels * (255 // max(1, len(about["classes"]) - 1))).astype(np.uint8)).save(mask)
