//! An owned tensor.

use super::{Element, TensorView, TensorViewMut};
use crate::error::{Result, ensure, fail};
use crate::types::{DType, Shape, TensorType};
use std::sync::Arc;

/// A tensor that owns its elements. A clone shares them until one of the two is written.
///
/// Its elements are bytes, aligned to 16, but for three dtypes: texts; values of any type, of which a list is a tensor
/// of one dimension; and the absent value. Views of such a tensor have no bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    elements: Elements,
}

#[derive(Clone, PartialEq, Eq)]
enum Elements {
    Bytes {
        /// Sixteen bytes each, so that any element type and any vector is aligned.
        storage: Arc<Vec<u128>>,
        n_bytes: usize,
    },
    Texts(Arc<Vec<Arc<str>>>),
    Items(Arc<Vec<Arc<Tensor>>>),
}

impl Tensor {
    /// A tensor of zeros, of empty texts, or of absent values. Fails when its size does not fit, or is not a whole
    /// number of blocks.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Self> {
        let len = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
        let Some((len, n_bytes)) = len.and_then(|len| Some((len, dtype.bytes_for(len)?))) else {
            return fail!(ShapeMismatch, "a {dtype} tensor cannot have the shape {shape:?}");
        };
        let elements = match dtype {
            DType::Text => filled(len, "".into()).map(|texts| Elements::Texts(Arc::new(texts))),
            DType::List if len > 0 => filled(len, Self::absent()).map(Self::of_items),
            DType::List | DType::Absent => Some(Self::of_items(Vec::new())),
            _ => {
                let storage = filled(n_bytes.div_ceil(16), 0);
                storage.map(|storage| Elements::Bytes { storage: Arc::new(storage), n_bytes })
            }
        };
        let Some(elements) = elements else {
            return fail!(
                OutOfMemory,
                "no memory for a {dtype} tensor of shape {shape:?} ({n_bytes} bytes): use a smaller context or model"
            );
        };
        Ok(Self { dtype, shape: shape.to_vec(), elements })
    }

    /// A tensor of those elements. Fails when their number is not the shape's.
    pub fn new<T: Element>(shape: &[usize], data: &[T]) -> Result<Self> {
        let mut tensor = Self::zeros(T::DTYPE, shape)?;
        let elements = tensor.data_mut::<T>()?;
        ensure!(
            elements.len() == data.len(),
            ShapeMismatch,
            "{} elements were given for the shape {shape:?}",
            data.len()
        );
        elements.copy_from_slice(data);
        Ok(tensor)
    }

    /// A copy of what is borrowed.
    pub fn copied(view: TensorView) -> Result<Self> {
        let TensorView { dtype, shape, bytes } = view;
        if let (Ok(units), true) = (bytemuck::try_cast_slice::<u8, u128>(bytes), dtype.has_bytes()) {
            let mut storage = Vec::new();
            let fits = storage.try_reserve_exact(units.len()).is_ok();
            ensure!(fits, OutOfMemory, "no memory for {} bytes of results: use a smaller input", bytes.len());
            storage.extend_from_slice(units);
            let elements = Elements::Bytes { storage: Arc::new(storage), n_bytes: bytes.len() };
            return Ok(Self { dtype, shape: shape.to_vec(), elements });
        }
        let mut tensor = Self::zeros(dtype, shape)?;
        tensor.view_mut().bytes.copy_from_slice(bytes);
        Ok(tensor)
    }

    /// A tensor of texts. Fails when their number is not the shape's.
    pub fn of_texts(shape: &[usize], texts: Vec<Arc<str>>) -> Result<Self> {
        let len = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
        ensure!(
            len == Some(texts.len()),
            ShapeMismatch,
            "{} texts were given for the shape {shape:?}",
            texts.len()
        );
        Ok(Self { dtype: DType::Text, shape: shape.to_vec(), elements: Elements::Texts(Arc::new(texts)) })
    }

    /// A list of values.
    pub fn list(items: Vec<Arc<Self>>) -> Self {
        Self { dtype: DType::List, shape: vec![items.len()], elements: Self::of_items(items) }
    }

    /// The optional value that is not there.
    pub fn absent() -> Arc<Self> {
        Arc::new(Self { dtype: DType::Absent, shape: Vec::new(), elements: Self::of_items(Vec::new()) })
    }

    fn of_items(items: Vec<Arc<Self>>) -> Elements {
        Elements::Items(Arc::new(items))
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The shape, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The type.
    pub fn ty(&self) -> TensorType {
        TensorType::new(self.dtype, Shape::known(&self.shape))
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same elements in another shape. Fails when their number differs.
    pub fn reshaped(mut self, shape: &[usize]) -> Result<Self> {
        let (had, wanted) = (self.len(), shape.iter().product::<usize>());
        ensure!(had == wanted, ShapeMismatch, "{self:?} cannot take the shape {shape:?}");
        self.shape = shape.to_vec();
        Ok(self)
    }

    /// The same bytes as elements of another type. Fails when it takes more or fewer.
    pub fn reinterpreted(mut self, dtype: DType, shape: &[usize]) -> Result<Self> {
        let wanted =
            shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b)).and_then(|len| dtype.bytes_for(len));
        let fits = self.dtype.has_bytes() && dtype.has_bytes() && wanted == Some(self.bytes().len());
        ensure!(fits, ShapeMismatch, "{self:?} cannot be read as {dtype}{shape:?}");
        (self.dtype, self.shape) = (dtype, shape.to_vec());
        Ok(self)
    }

    /// The bytes of the elements; none where those are no bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.elements {
            Elements::Bytes { storage, n_bytes } => &bytemuck::cast_slice(storage)[..*n_bytes],
            _ => &[],
        }
    }

    /// Bytes that the elements take, of a list roughly.
    pub fn memory_bytes(&self) -> usize {
        match &self.elements {
            Elements::Bytes { n_bytes, .. } => *n_bytes,
            Elements::Texts(texts) => texts.iter().map(|text| text.len() + 16).sum(),
            Elements::Items(items) => items.iter().map(|item| item.memory_bytes() + 64).sum(),
        }
    }

    /// The elements. Fails when the dtype is another.
    pub fn data<T: Element>(&self) -> Result<&[T]> {
        self.view().data()
    }

    /// The elements, to be written. Fails when the dtype is another.
    pub fn data_mut<T: Element>(&mut self) -> Result<&mut [T]> {
        ensure!(self.dtype == T::DTYPE, ShapeMismatch, "a {} tensor was written as {}", self.dtype, T::DTYPE);
        Ok(bytemuck::cast_slice_mut(self.view_mut().bytes))
    }

    /// The elements of a tensor of texts. Fails when the dtype is another.
    pub fn texts(&self) -> Result<&[Arc<str>]> {
        match &self.elements {
            Elements::Texts(texts) => Ok(texts),
            _ => fail!(ShapeMismatch, "texts are wanted, and {self:?} came"),
        }
    }

    /// The values of a list. Fails when it is none.
    pub fn items(&self) -> Result<&[Arc<Self>]> {
        match &self.elements {
            Elements::Items(items) if self.dtype == DType::List => Ok(items),
            _ => fail!(ShapeMismatch, "a sequence is wanted, and {self:?} came"),
        }
    }

    /// The tensor, borrowed.
    pub fn view(&self) -> TensorView<'_> {
        TensorView { dtype: self.dtype, shape: &self.shape, bytes: self.bytes() }
    }

    /// The tensor, borrowed to be written.
    pub fn view_mut(&mut self) -> TensorViewMut<'_> {
        let bytes = match &mut self.elements {
            Elements::Bytes { storage, n_bytes } => {
                &mut bytemuck::cast_slice_mut(&mut Arc::make_mut(storage)[..])[..*n_bytes]
            }
            _ => &mut [],
        };
        TensorViewMut { dtype: self.dtype, shape: &self.shape, bytes }
    }
}

/// As many of a value; none where there is no memory for them.
fn filled<T: Clone>(len: usize, value: T) -> Option<Vec<T>> {
    let mut all = Vec::new();
    all.try_reserve_exact(len).ok()?;
    all.resize(len, value);
    Some(all)
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.dtype {
            DType::List => write!(f, "a sequence of {}", self.len()),
            DType::Absent => write!(f, "an absent value"),
            dtype => write!(f, "{dtype}{:?}", self.shape),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_share_elements_until_one_is_written() {
        let a = Tensor::new(&[2], &[1.0f32, 2.0]).unwrap();
        let mut b = a.clone();
        assert_eq!(a.bytes().as_ptr(), b.bytes().as_ptr());
        b.data_mut::<f32>().unwrap()[0] = 3.0;
        assert_eq!((a.data::<f32>().unwrap(), b.data::<f32>().unwrap()), (&[1.0, 2.0][..], &[3.0, 2.0][..]));
    }

    #[test]
    fn texts_and_lists_have_no_bytes() {
        let texts = Tensor::of_texts(&[2, 1], vec!["a".into(), "ü".into()]).unwrap();
        assert_eq!((texts.bytes(), &*texts.texts().unwrap()[1]), (&[][..], "ü"));
        assert!(texts.items().is_err() && texts.view().to_floats().is_err() && texts.data::<u8>().is_err());
        assert!(Tensor::of_texts(&[3], vec!["a".into()]).is_err());
        let list = Tensor::list(vec![Arc::new(texts), Tensor::absent()]);
        assert_eq!((list.shape(), list.items().unwrap().len()), (&[2][..], 2));
        assert!(Tensor::absent().items().is_err());
        assert_eq!(
            Tensor::zeros(DType::Text, &[2]).unwrap().texts().unwrap(),
            [Arc::from(""), Arc::from("")]
        );
        assert!(Tensor::zeros(DType::Text, &[usize::MAX / 32]).is_err());
    }
}
