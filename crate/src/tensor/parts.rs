//! A tensor cut along its first dimension, and put together again.

use super::Tensor;
use crate::error::{Result, ensure, fail};
use crate::types::DType;

impl Tensor {
    /// Element `index` of the first dimension, which the result has no longer. Fails beyond it.
    pub fn item(&self, index: usize) -> Result<Self> {
        let Some((n, rest)) = self.shape().split_first() else {
            return fail!(ShapeMismatch, "{self:?} has no dimension to slice");
        };
        ensure!(index < *n, ShapeMismatch, "{self:?} has no element {index}");
        if self.dtype() == DType::Text {
            let len = rest.iter().product::<usize>();
            return Self::of_texts(rest, self.texts()?[index * len..][..len].to_vec());
        }
        ensure!(self.dtype().has_bytes(), UnsupportedOp, "{self:?} cannot be sliced");
        let mut item = Self::zeros(self.dtype(), rest)?;
        let bytes = item.view_mut().bytes;
        bytes.copy_from_slice(&self.bytes()[index * bytes.len()..][..bytes.len()]);
        Ok(item)
    }

    /// Tensors of one type along a new first dimension. Fails when there is none, and when types differ.
    pub fn stack(parts: &[Self]) -> Result<Self> {
        let Some(first) = parts.first() else { return fail!(ShapeMismatch, "there is nothing to stack") };
        let differs =
            parts.iter().find(|part| part.dtype() != first.dtype() || part.shape() != first.shape());
        if let Some(other) = differs {
            return fail!(ShapeMismatch, "{other:?} cannot be stacked on {first:?}");
        }
        let shape = [&[parts.len()], first.shape()].concat();
        if first.dtype() == DType::Text {
            let texts = parts.iter().map(Self::texts).collect::<Result<Vec<_>>>()?.concat();
            return Self::of_texts(&shape, texts);
        }
        ensure!(first.dtype().has_bytes(), UnsupportedOp, "{first:?} cannot be stacked");
        let mut all = Self::zeros(first.dtype(), &shape)?;
        let n_bytes = first.bytes().len();
        if n_bytes > 0 {
            let places = all.view_mut().bytes.chunks_exact_mut(n_bytes);
            places.zip(parts).for_each(|(place, part)| place.copy_from_slice(part.bytes()));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_stack_to_what_they_were() {
        let whole = Tensor::new(&[3, 2], &[1i16, 2, 3, 4, 5, 6]).unwrap();
        let items: Vec<_> = (0..3).map(|i| whole.item(i).unwrap()).collect();
        assert_eq!(items[1].data::<i16>().unwrap(), [3, 4]);
        assert!(Tensor::stack(&items).unwrap() == whole);
        assert!(whole.item(3).is_err() && items[0].item(0).unwrap().item(0).is_err());
        let texts = Tensor::of_texts(&[2, 1], vec!["a".into(), "b".into()]).unwrap();
        assert!(Tensor::stack(&[texts.item(0).unwrap(), texts.item(1).unwrap()]).unwrap() == texts);
        assert!(Tensor::stack(&[whole, texts]).is_err() && Tensor::stack(&[]).is_err());
    }
}
