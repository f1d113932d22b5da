//! Tensors as the file has them, and the way from there to a [`Tensor`](tensor::Tensor) with elements.
//!
//! Elements are raw bytes, or numbers in a list whose type has room for them, or bytes of another file.

use super::element::ElementType;
use super::wire::{Wire, fault, push};
use crate::error::{Error, Result, ensure, fail};
use crate::tensor;
use crate::types::DType;

/// Gives bytes of another file, by its location, where they begin, and how many: a tensor of u8.
pub type ReadExternal<'f> = &'f dyn Fn(&str, u64, usize) -> Result<tensor::Tensor>;

/// Where elements are that lie in another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outside<'a> {
    /// The path of that file, as the model has it.
    pub location: &'a str,
    /// Where they begin.
    pub offset: u64,
    /// How many bytes they are.
    pub n_bytes: usize,
}

/// A tensor of the file: `TensorProto`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<'a> {
    /// The name; empty where none is needed, as in an attribute.
    pub name: &'a str,
    /// The shape, outermost dimension first; empty for a scalar.
    pub dims: Vec<usize>,
    /// The element type.
    pub data_type: ElementType,
    /// The elements, row-major, or where they are. Their number is checked by [`Tensor::decode`].
    pub data: TensorData<'a>,
}

/// The elements of a tensor, in the form that the file has them in.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData<'a> {
    /// Little-endian bytes of elements of fixed width.
    Raw(&'a [u8]),
    /// f32, and the parts of complex64.
    Floats(Vec<f32>),
    /// i32, and all types of at most 16 bits; floats are given by their bits.
    Ints(Vec<i32>),
    /// i64.
    Longs(Vec<i64>),
    /// f64, and the parts of complex128.
    Doubles(Vec<f64>),
    /// u32 and u64.
    Unsigned(Vec<u64>),
    /// Strings, in UTF-8 if the file keeps to its format.
    Strings(Vec<&'a [u8]>),
    /// Raw bytes in another file.
    External {
        /// The path of that file, relative to the folder of this one.
        location: &'a str,
        /// Where the bytes begin.
        offset: u64,
        /// How many there are; none means up to the end of that file.
        length: Option<u64>,
    },
}

/// A tensor of which only some elements are not zero: `SparseTensorProto`.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseTensor<'a> {
    /// The elements that are not zero, `[n]`; its name is that of the whole.
    pub values: Tensor<'a>,
    /// Where they are: `[n]` row-major positions, or `[n, rank]` indices.
    pub indices: Tensor<'a>,
    /// The shape of the whole.
    pub dims: Vec<usize>,
}

/// The error, blamed on a tensor if it has a name.
fn named(error: Error, name: &str) -> Error {
    if name.is_empty() { error } else { error.at(name) }
}

/// How many elements the file has in a byte, the first in the lowest bits; 1 for all that have at least one each.
fn packed(dtype: DType) -> usize {
    match dtype {
        DType::I4 | DType::U4 | DType::F4E2M1 => 2,
        DType::I2 | DType::U2 => 4,
        _ => 1,
    }
}

/// Gives each element a byte.
fn unpack(dtype: DType, bytes: &[u8], elements: &mut [u8]) {
    let per_byte = packed(dtype);
    let bits = 8 / per_byte;
    for (i, element) in elements.iter_mut().enumerate() {
        // The element's bits become the highest, and come down as a number with a sign, or as one without.
        let high = bytes[i / per_byte] << (8 - bits * (i % per_byte + 1));
        let signed = matches!(dtype, DType::I4 | DType::I2);
        *element = if signed { (high as i8 >> (8 - bits)) as u8 } else { high >> (8 - bits) };
    }
}

/// Dimensions are at most so many.
const MAX_RANK: usize = 64;

/// Sizes of a shape, none of which may be negative.
fn shape(dims: &[i64]) -> Result<Vec<usize>> {
    if dims.len() > MAX_RANK {
        return Err(fault(format!("a tensor has {} dimensions", dims.len())));
    }
    match dims.iter().map(|&dim| usize::try_from(dim)).collect() {
        Ok(dims) => Ok(dims),
        Err(_) => Err(fault(format!("a tensor has the shape {dims:?}"))),
    }
}

impl<'a> Tensor<'a> {
    pub(super) fn read(mut wire: Wire<'a>) -> Result<Self> {
        let (mut name, mut number, mut dims, mut segment) = ("", 0, Vec::new(), false);
        let (mut raw, mut floats, mut ints, mut longs) = (None, Vec::new(), Vec::new(), Vec::new());
        let (mut doubles, mut unsigned, mut strings) = (Vec::new(), Vec::new(), Vec::new());
        let (mut place, mut is_external) = (Vec::new(), false);
        while let Some(field) = wire.field()? {
            match field.number {
                1 => field.scalars(&mut dims)?,
                2 => number = field.scalar()?,
                3 => segment = true,
                4 => field.scalars(&mut floats)?,
                5 => field.scalars(&mut ints)?,
                6 => push(&mut strings, field.bytes()?)?,
                7 => field.scalars(&mut longs)?,
                8 => name = field.str()?,
                9 => raw = Some(field.bytes()?),
                10 => field.scalars(&mut doubles)?,
                11 => field.scalars(&mut unsigned)?,
                13 => push(&mut place, entry(field.message("StringStringEntryProto")?)?)?,
                14 => is_external = field.scalar::<i32>()? == 1,
                _ => {}
            }
        }
        let finish = || {
            ensure!(
                !segment,
                UnsupportedFormat,
                "a tensor in segments is not supported: export it in one piece"
            );
            let Some(data_type) = ElementType::from_number(number)? else {
                return Err(fault("a tensor has no element type".into()));
            };
            use ElementType as E;
            let data = match (raw, data_type) {
                _ if is_external => external(&place)?,
                (Some(bytes), _) => TensorData::Raw(bytes),
                (_, E::Float32 | E::Complex64) => TensorData::Floats(floats),
                (_, E::Float64 | E::Complex128) => TensorData::Doubles(doubles),
                (_, E::Int64) => TensorData::Longs(longs),
                (_, E::Uint32 | E::Uint64) => TensorData::Unsigned(unsigned),
                (_, E::String) => TensorData::Strings(strings),
                _ => TensorData::Ints(ints),
            };
            Ok(Self { name, dims: shape(&dims)?, data_type, data })
        };
        finish().map_err(|error| named(error, name))
    }

    /// The tensor with its elements; `external` is asked for those of another file.
    ///
    /// # Errors
    /// `UnsupportedFormat` for an element type that no [`DType`] stands for; `Format` when the elements are not as
    /// many as the shape has; `OutOfMemory`; and what `external` fails with. All name the tensor.
    pub fn decode(&self, external: ReadExternal) -> Result<tensor::Tensor> {
        self.elements(external).map_err(|error| named(error, self.name))
    }

    /// Where the elements are, if in another file. Fails as [`Tensor::decode`] does.
    pub fn outside(&self) -> Result<Option<Outside<'a>>> {
        self.place().map_err(|error| named(error, self.name))
    }

    fn place(&self) -> Result<Option<Outside<'a>>> {
        let TensorData::External { location, offset, length } = self.data else { return Ok(None) };
        let (dtype, _, n_bytes) = self.size()?;
        if dtype == DType::Text {
            return Err(fault("a tensor of strings has other data".into()));
        }
        self.fits(length.unwrap_or(n_bytes as u64), n_bytes, "bytes")?;
        if offset.checked_add(n_bytes as u64).is_none() {
            return Err(fault(format!("the offset {offset} is larger than any file")));
        }
        Ok(Some(Outside { location, offset, n_bytes }))
    }

    /// The dtype, the number of elements, and that of their bytes in the file.
    fn size(&self) -> Result<(DType, usize, usize)> {
        let Some(dtype) = self.data_type.dtype() else {
            return fail!(
                UnsupportedFormat,
                "tensors of {} are not supported: export the model with another element type",
                self.data_type
            );
        };
        let len = self.dims.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim));
        let per_byte = packed(dtype);
        let n_bytes = |len: usize| Some(dtype.bytes_for(len)?.div_ceil(per_byte));
        match len.and_then(|len| Some((dtype, len, n_bytes(len)?))) {
            Some(size) => Ok(size),
            None => Err(fault(format!("the shape {:?} is larger than any memory", self.dims))),
        }
    }

    fn elements(&self, external: ReadExternal) -> Result<tensor::Tensor> {
        let (dtype, len, n_bytes) = self.size()?;
        if let Some(Outside { location, offset, n_bytes }) = self.place()? {
            let bytes = external(location, offset, n_bytes)?;
            if packed(dtype) > 1 || dtype == DType::Bool {
                return self.of_bytes(dtype, n_bytes, bytes.bytes());
            }
            self.fits(bytes.bytes().len() as u64, n_bytes, "bytes")?;
            return bytes.reinterpreted(dtype, &self.dims);
        }
        match &self.data {
            TensorData::Strings(list) => self.of_strings(len, list),
            _ if dtype == DType::Text => Err(fault("a tensor of strings has other data".into())),
            TensorData::Raw(bytes) => self.of_bytes(dtype, n_bytes, bytes),
            TensorData::Ints(list) if packed(dtype) > 1 => {
                let bytes: Vec<u8> = list.iter().map(|&byte| byte as u8).collect();
                self.of_bytes(dtype, n_bytes, &bytes)
            }
            TensorData::External { .. } => fail!(Internal, "the elements are in another file"),
            TensorData::Floats(list) => self.of_list(dtype, len, list, |x| x.to_le_bytes()),
            TensorData::Doubles(list) => self.of_list(dtype, len, list, |x| x.to_le_bytes()),
            TensorData::Longs(list) => self.of_list(dtype, len, list, |x| x.to_le_bytes()),
            TensorData::Unsigned(list) => self.of_list(dtype, len, list, |x| x.to_le_bytes()),
            TensorData::Ints(list) if dtype == DType::Bool => {
                self.of_list(dtype, len, list, |x| [u8::from(x != 0)])
            }
            TensorData::Ints(list) => self.of_list(dtype, len, list, |x| x.to_le_bytes()),
        }
    }

    fn fits(&self, found: u64, expected: usize, what: &str) -> Result<()> {
        ensure!(
            found == expected as u64,
            Format,
            "not a valid ONNX file: a {} tensor of shape {:?} has {found} {what} instead of {expected}",
            self.data_type,
            self.dims
        );
        Ok(())
    }

    fn of_bytes(&self, dtype: DType, n_bytes: usize, bytes: &[u8]) -> Result<tensor::Tensor> {
        self.fits(bytes.len() as u64, n_bytes, "bytes")?;
        let mut out = tensor::Tensor::zeros(dtype, &self.dims)?;
        let elements = out.view_mut().bytes;
        match dtype {
            DType::I4 | DType::I2 | DType::U4 | DType::U2 | DType::F4E2M1 => unpack(dtype, bytes, elements),
            _ => elements.copy_from_slice(bytes),
        }
        if dtype == DType::Bool {
            elements.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
        }
        Ok(out)
    }

    fn of_strings(&self, len: usize, list: &[&[u8]]) -> Result<tensor::Tensor> {
        self.fits(list.len() as u64, len, "elements")?;
        let text = |bytes: &&[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(fault("a string is not UTF-8".into())),
        };
        tensor::Tensor::of_texts(&self.dims, list.iter().map(text).collect::<Result<_>>()?)
    }

    /// Takes of each number of a list, made little-endian, as many bytes as an element has.
    fn of_list<T: Copy, const N: usize>(
        &self,
        dtype: DType,
        len: usize,
        list: &[T],
        bytes: impl Fn(T) -> [u8; N],
    ) -> Result<tensor::Tensor> {
        self.fits(list.len() as u64, len, "elements")?;
        let mut out = tensor::Tensor::zeros(dtype, &self.dims)?;
        let width = dtype.block_bytes();
        for (element, &number) in out.view_mut().bytes.chunks_exact_mut(width).zip(list) {
            element.copy_from_slice(&bytes(number)[..width]);
        }
        Ok(out)
    }
}

impl<'a> SparseTensor<'a> {
    pub(super) fn read(mut wire: Wire<'a>) -> Result<Self> {
        let (mut values, mut indices, mut dims) = (None, None, Vec::new());
        while let Some(field) = wire.field()? {
            match field.number {
                1 => field.once(&mut values, Tensor::read(field.message("TensorProto")?)?)?,
                2 => field.once(&mut indices, Tensor::read(field.message("TensorProto")?)?)?,
                3 => field.scalars(&mut dims)?,
                _ => {}
            }
        }
        match (values, indices) {
            (Some(values), Some(indices)) => Ok(Self { dims: shape(&dims)?, values, indices }),
            _ => Err(fault("a sparse tensor has no values or no indices".into())),
        }
    }
}

/// Bytes that a sparse tensor may have as a whole: a few numbers of a file could else ask for all memory.
const MAX_WHOLE: usize = 1 << 28;

impl<'a> SparseTensor<'a> {
    /// The tensors that it is made of.
    pub(super) fn parts(&self) -> [&Tensor<'a>; 2] {
        [&self.values, &self.indices]
    }

    /// The whole tensor, zeros included. Fails as [`Tensor::decode`] does, for indices outside the whole, and for a
    /// whole of more than 256 MiB.
    pub fn decode(&self, external: ReadExternal) -> Result<tensor::Tensor> {
        self.whole(external).map_err(|error| named(error, self.values.name))
    }

    fn whole(&self, external: ReadExternal) -> Result<tensor::Tensor> {
        let (values, indices) = (self.values.decode(external)?, self.indices.decode(external)?);
        let len = self.dims.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim));
        let bytes = len.and_then(|len| values.dtype().bytes_for(len)).filter(|bytes| *bytes <= MAX_WHOLE);
        ensure!(bytes.is_some(), OutOfMemory, "a sparse tensor of {:?} is too large", self.dims);
        let (at, n) = (indices.view().to_ints()?, values.shape().iter().product::<usize>());
        let rank = if indices.shape().len() == 2 { self.dims.len() } else { 1 };
        let dims: &[usize] = if rank == self.dims.len() { &self.dims } else { &[len.unwrap_or(0)] };
        ensure!(at.len() == n * rank, Format, "a sparse tensor has {n} values and {} indices", at.len());
        let mut whole = tensor::Tensor::zeros(values.dtype(), &self.dims)?;
        let size = values.dtype().block_bytes();
        let out = whole.view_mut().bytes;
        for (i, value) in values.bytes().chunks_exact(size).enumerate() {
            let index = at[i * rank..][..rank].iter().zip(dims);
            let position = index.clone().try_fold(0usize, |position, (&index, &dim)| {
                usize::try_from(index).ok().filter(|index| *index < dim).map(|index| position * dim + index)
            });
            match position.and_then(|position| out.get_mut(position * size..)?.get_mut(..size)) {
                Some(place) => place.copy_from_slice(value),
                None => return fail!(Format, "a sparse tensor has an index outside its {:?}", self.dims),
            }
        }
        Ok(whole)
    }
}

/// A key and its value: `StringStringEntryProto`.
pub(super) fn entry<'a>(mut wire: Wire<'a>) -> Result<(&'a str, &'a str)> {
    let (mut key, mut value) = ("", "");
    while let Some(field) = wire.field()? {
        match field.number {
            1 => key = field.str()?,
            2 => value = field.str()?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// The place in another file that entries describe; keys other than these three are hints.
fn external<'a>(entries: &[(&'a str, &'a str)]) -> Result<TensorData<'a>> {
    let find = |key| entries.iter().find(|entry| entry.0 == key).map(|entry| entry.1);
    let number = |key| {
        let parse = |text: &str| match text.parse::<u64>() {
            Ok(number) => Ok(number),
            Err(_) => Err(fault(format!("the {key} of external data is '{text}', not a number"))),
        };
        find(key).map(parse).transpose()
    };
    let Some(location) = find("location").filter(|location| !location.is_empty()) else {
        return Err(fault("external data have no location".into()));
    };
    Ok(TensorData::External { location, offset: number("offset")?.unwrap_or(0), length: number("length")? })
}
