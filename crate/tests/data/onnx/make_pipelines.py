"""Pipelines of scikit-learn as skl2onnx exports them, with what ONNX Runtime makes of them.

    python make_pipelines.py [all]    writes pipelines.json beside this; needs scikit-learn, skl2onnx, onnx, onnxruntime
and pandas

With `all` it writes more of them to pipelines-all.json, which is not kept.
"""

import json
import pathlib
import sys

import numpy as np
import onnxruntime
import pandas
from onnx import helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn import ensemble, linear_model, naive_bayes, neighbors, neural_network, preprocessing, svm, tree
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.pipeline import make_pipeline

random = np.random.default_rng(11)
everything = sys.argv[1:] == ["all"]
cases = []


def plain(array):
    if array.dtype.kind in "OU":
        return {"dtype": "str", "shape": list(array.shape), "data": array.ravel().tolist()}
    kept = array.astype(np.float64) if array.dtype.kind == "f" else array.astype(np.int64)
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": [None if x != x else float(f"{x:.8g}") for x in kept.ravel().tolist()]}


def case(name, model, feeds, types=None, **options):
    """`model` is fitted; `feeds` is a matrix, or matrices by name."""
    feeds = feeds if isinstance(feeds, dict) else {"x": feeds}
    kind = lambda a: {"f": FloatTensorType, "i": Int64TensorType}.get(a.dtype.kind, StringTensorType)
    types = types or [(n, kind(a)([None, *a.shape[1:]])) for n, a in feeds.items()]
    onnx_model = to_onnx(model, initial_types=types, options={id(model): options} if options else None, target_opset={"": 18, "ai.onnx.ml": 3})
    del onnx_model.metadata_props[:]
    for node in onnx_model.graph.node:
        if node.op_type == "StringNormalizer":
            # The only locale that is everywhere.
            kept_attributes = [a for a in node.attribute if a.name != "locale"]
            del node.attribute[:]
            node.attribute.extend(kept_attributes)
            node.attribute.append(helper.make_attribute("locale", "C.UTF-8"))
    data = onnx_model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    got = session.run(None, feeds)
    outputs = {}
    for port, y in zip(session.get_outputs(), got):
        if isinstance(y, list):
            # Maps by label: the table of what is in them.
            y = np.array([list(row.values()) for row in y], np.float32)
        outputs[port.name] = plain(np.asarray(y))
    cases.append({"name": name, "model": data.hex(), "inputs": {n: plain(a) for n, a in feeds.items()}, "outputs": outputs})
    print(f"{name}: {len(data)} bytes, {sorted({n.domain + '.' + n.op_type for n in onnx_model.graph.node})}")


def blobs(n, classes=3, features=4):
    y = random.integers(0, classes, n)
    centres = random.normal(0, 2, (classes, features))
    return (centres[y] + random.normal(0, 1, (n, features))).astype(np.float32), y


x, y = blobs(40)
two = y % 2
words = np.array(["red", "green", "blue"])
named = words[y]
target = (x @ random.normal(0, 1, 4) + random.normal(0, 0.1, 40)).astype(np.float32)
few = x[:5]

case("logistic regression, labels that are text", make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()).fit(x, named), few)
case("logistic regression, a table", linear_model.LogisticRegression().fit(x, two), few, zipmap=False)
case("forest", ensemble.RandomForestClassifier(3, max_depth=3, random_state=0).fit(x, named), few, zipmap=False)
case("boosting of two classes", ensemble.GradientBoostingClassifier(n_estimators=3, max_depth=2, random_state=0).fit(x, two), few)
case("boosting of three classes", ensemble.GradientBoostingClassifier(n_estimators=3, max_depth=2, random_state=0).fit(x, y), few)
case("boosted regression", ensemble.GradientBoostingRegressor(n_estimators=3, max_depth=2, random_state=0).fit(x, target), few)
case("likelihoods of a support vector machine", svm.SVC(probability=True, random_state=0).fit(x[:20], named[:20]), few, zipmap=False)
case("likelihoods of two classes", svm.SVC(probability=True, kernel="poly", random_state=0).fit(x[:20], two[:20]), few)
case("support vectors", svm.SVC(kernel="sigmoid").fit(x[:20], y[:20]), few)
case("support vector regression", svm.SVR().fit(x[:15], target[:15]), few)
case("linear support vectors", svm.LinearSVC().fit(x, named), few)
case("neighbours", neighbors.KNeighborsClassifier(3).fit(x[:15], named[:15]), few, zipmap=False)
case("perceptron", neural_network.MLPClassifier((4,), max_iter=30, random_state=0).fit(x, y), few, zipmap=False)

colours = np.array([["red", "big"], ["blue", "small"], ["green", "big"]], object)
case("one column a category", preprocessing.OneHotEncoder(handle_unknown="ignore").fit(colours), np.array([["blue", "big"], ["red", "odd"]], object))
case("ordinals", preprocessing.OrdinalEncoder().fit(colours), colours)
table = pandas.DataFrame({"a": x[:12, 0], "b": x[:12, 1], "c": named[:12]})
mixed = make_pipeline(ColumnTransformer([("n", make_pipeline(SimpleImputer(), preprocessing.StandardScaler()), ["a", "b"]), ("c", preprocessing.OneHotEncoder(), ["c"])]), linear_model.LogisticRegression()).fit(table, two[:12])
case("columns of several kinds", mixed, {"a": np.array([[0.5], [np.nan]], np.float32), "b": x[:2, 1:2], "c": np.array([["red"], ["blue"]], object)})

texts = np.array(["The cat sat", "on the mat. the cat!", "A dog, a CAT", "nothing of it"], object)
case("words counted", CountVectorizer().fit(texts), texts.reshape(-1, 1), types=[("x", StringTensorType([None, 1]))])
case("runs of words, weighted", TfidfVectorizer(ngram_range=(1, 2), stop_words=["of"]).fit(texts), texts.reshape(-1, 1), types=[("x", StringTensorType([None, 1]))])
case("texts classified", make_pipeline(TfidfVectorizer(), linear_model.LogisticRegression()).fit(texts, ["pet", "pet", "pet", "none"]), texts.reshape(-1, 1), types=[("x", StringTensorType([None, 1]))])
case("letters counted", CountVectorizer(analyzer="char", ngram_range=(1, 2)).fit(texts[:2]), texts[:2].reshape(-1, 1), types=[("x", StringTensorType([None, 1]))])


def wide(name, fitted, feeds, **options):
    """One of those that are not kept: some versions do not export it."""
    try:
        if everything:
            case(name, fitted(), feeds, **options)
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        print(f"{name} is left out: {str(error)[:100]}")


wide("extra trees", lambda: ensemble.ExtraTreesClassifier(5, random_state=0).fit(x, y), few)
wide("ada boost", lambda: ensemble.AdaBoostClassifier(n_estimators=3, random_state=0).fit(x, y), few)
wide("bagging", lambda: ensemble.BaggingClassifier(n_estimators=3, random_state=0).fit(x, y), few)
wide("voting", lambda: ensemble.VotingClassifier([("a", linear_model.LogisticRegression()), ("b", tree.DecisionTreeClassifier(random_state=0))], voting="soft", flatten_transform=False).fit(x, named), few, zipmap=False)
wide("histogram boosting", lambda: ensemble.HistGradientBoostingClassifier(max_iter=3).fit(np.repeat(x, 3, 0), np.repeat(y, 3)), few)
wide("histogram regression", lambda: ensemble.HistGradientBoostingRegressor(max_iter=3).fit(np.repeat(x, 3, 0), np.repeat(target, 3)), few)
wide("forest regression", lambda: ensemble.RandomForestRegressor(5, random_state=0).fit(x, target), few)
wide("isolation forest", lambda: ensemble.IsolationForest(n_estimators=5, random_state=0).fit(x), few)
wide("one class", lambda: svm.OneClassSVM().fit(x), few)
wide("nu", lambda: svm.NuSVC(nu=0.1, probability=True, random_state=0).fit(x, y), few, zipmap=False)
wide("nearest regression", lambda: neighbors.KNeighborsRegressor(3, weights="distance").fit(x, target), few)
wide("bayes", lambda: naive_bayes.GaussianNB().fit(x, named), few, zipmap=False)
wide("bernoulli bayes", lambda: naive_bayes.BernoulliNB().fit(x, y), few, zipmap=False)
wide("multinomial bayes", lambda: naive_bayes.MultinomialNB().fit(np.abs(x), y), np.abs(few))
wide("ridge", lambda: linear_model.Ridge().fit(x, np.stack([target, -target], 1)), few)
wide("sgd", lambda: linear_model.SGDClassifier(random_state=0).fit(x, named), few)
wide("sgd log", lambda: linear_model.SGDClassifier(loss="modified_huber", random_state=0).fit(x, y), few, zipmap=False)
wide("one against the rest", lambda: OneVsRestClassifier(linear_model.LogisticRegression()).fit(x, y), few, zipmap=False)
wide("calibrated", lambda: CalibratedClassifierCV(svm.LinearSVC(), cv=2).fit(x, y), few, zipmap=False)
wide("perceptron of two", lambda: neural_network.MLPClassifier((4,), activation="tanh", max_iter=30, random_state=0).fit(x, two), few, zipmap=False)
wide("perceptron regression", lambda: neural_network.MLPRegressor(hidden_layer_sizes=(4,), max_iter=30, random_state=0).fit(x, target), few)
wide("clusters", lambda: KMeans(3, random_state=0, n_init=1).fit(x), few)
wide("components", lambda: make_pipeline(PCA(2), preprocessing.PolynomialFeatures(2)).fit(x), few)
wide("gaussian process", lambda: GaussianProcessRegressor().fit(x[:10], target[:10]), few)
for scaler in [preprocessing.MinMaxScaler(), preprocessing.MaxAbsScaler(), preprocessing.RobustScaler(), preprocessing.Normalizer("l1"), preprocessing.Binarizer(threshold=0.3), preprocessing.KBinsDiscretizer(3, encode="onehot-dense"), preprocessing.PowerTransformer(), preprocessing.FunctionTransformer(), preprocessing.QuantileTransformer(n_quantiles=5)]:
    wide(type(scaler).__name__, lambda: scaler.fit(x), few)
wide("labels", lambda: preprocessing.LabelEncoder().fit(named), named[:5].astype(object))
wide("binary labels", lambda: preprocessing.LabelBinarizer().fit(y), y[:5].reshape(-1, 1))
wide("integers one hot", lambda: preprocessing.OneHotEncoder().fit(y.reshape(-1, 1)), y[:5].reshape(-1, 1))

name = "pipelines-all.json" if everything else "pipelines.json"
pathlib.Path(__file__).with_name(name).write_text("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in cases) + "\n]\n")
