//! The element types of ONNX, more of which exist than tensors here can have.

use crate::error::{Result, fail};
use crate::types::DType;
use std::fmt;

macro_rules! element_types {
    ($($number:literal $variant:ident $name:literal $dtype:expr,)+) => {
        /// An element type: `TensorProto.DataType` of `onnx.proto`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names say it")]
        pub enum ElementType {
            $($variant),+
        }

        impl ElementType {
            const ALL: [Self; [$($number),+].len()] = [$(Self::$variant),+];

            /// The type of a number of `TensorProto.DataType`; none for 0, which says that it is not known.
            ///
            /// # Errors
            /// `UnsupportedFormat` for a number that has no meaning.
            pub fn from_number(number: i32) -> Result<Option<Self>> {
                match number {
                    0 => Ok(None),
                    $($number => Ok(Some(Self::$variant)),)+
                    _ => fail!(UnsupportedFormat, "the element type {number} is not known: export to a released opset"),
                }
            }

            /// The dtype of a tensor with such elements, where there is one.
            pub fn dtype(self) -> Option<DType> {
                match self {
                    $(Self::$variant => $dtype),+
                }
            }

            /// The type of that name, as [`name`](Self::name) gives it.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|ty| ty.name() == name)
            }

            /// The type whose tensors have that dtype.
            pub fn of(dtype: DType) -> Option<Self> {
                Self::ALL.into_iter().find(|ty| ty.dtype() == Some(dtype))
            }

            /// Its name, such as `float32`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }
    };
}

element_types! {
    1 Float32 "float32" Some(DType::F32),
    2 Uint8 "uint8" Some(DType::U8),
    3 Int8 "int8" Some(DType::I8),
    4 Uint16 "uint16" Some(DType::U16),
    5 Int16 "int16" Some(DType::I16),
    6 Int32 "int32" Some(DType::I32),
    7 Int64 "int64" Some(DType::I64),
    8 String "string" Some(DType::Text),
    9 Bool "bool" Some(DType::Bool),
    10 Float16 "float16" Some(DType::F16),
    11 Float64 "float64" Some(DType::F64),
    12 Uint32 "uint32" Some(DType::U32),
    13 Uint64 "uint64" Some(DType::U64),
    14 Complex64 "complex64" None,
    15 Complex128 "complex128" None,
    16 Bfloat16 "bfloat16" Some(DType::BF16),
    17 Float8E4M3Fn "float8e4m3fn" Some(DType::F8E4M3),
    18 Float8E4M3Fnuz "float8e4m3fnuz" Some(DType::F8E4M3Fnuz),
    19 Float8E5M2 "float8e5m2" Some(DType::F8E5M2),
    20 Float8E5M2Fnuz "float8e5m2fnuz" Some(DType::F8E5M2Fnuz),
    21 Uint4 "uint4" Some(DType::U4),
    22 Int4 "int4" Some(DType::I4),
    23 Float4E2M1 "float4e2m1" Some(DType::F4E2M1),
    24 Float8E8M0 "float8e8m0" Some(DType::F8E8M0),
    25 Uint2 "uint2" Some(DType::U2),
    26 Int2 "int2" Some(DType::I2),
    27 Float6E2M3 "float6e2m3" None,
    28 Float6E3M2 "float6e3m2" None,
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
