//! Rows of a table by index: `y[i] = table[indices[i]]`. ONNX Gather on axis 0; also the embedding lookup,
//! whose table may be a repacked weight in any block format.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Packing, Types, expect_dtype};
use crate::error::{Result, ensure, fail};
use crate::kernels::dispatch::{Dispatch, Operand, params};
use crate::kernels::planes::Planes;
use crate::quant::decode_row;
use crate::tensor::TensorViewMut;
use crate::types::{DType, Shape, TensorType};

/// `(table [rows, columns], indices i32 [..]) → f32 [.., columns]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gather;

impl OpDef for Gather {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (table, indices) = (inputs.ty(0)?, inputs.ty(1)?);
        expect_dtype(indices, DType::I32, "the indices of a gather")?;
        ensure!(
            table.shape.rank() == 2 && table.dtype.is_float(),
            ShapeMismatch,
            "a gather wants a table [rows, columns] of floats and indices, and got {table} and {indices}"
        );
        Ok(vec![TensorType::f32(Shape([&indices.shape.0[..], &table.shape.0[1..]].concat()))])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let indices = inputs[1].tensor()?.data::<i32>()?;
        let (_, columns) = outputs[0].as_rows();
        let rows = match &inputs[0] {
            Input::Packed(matrix) => matrix.n(),
            other => other.tensor()?.as_rows().0,
        };
        let out = outputs[0].data::<f32>()?;
        for (&index, out) in indices.iter().zip(out.chunks_exact_mut(columns.max(1))) {
            let row = usize::try_from(index).unwrap_or(usize::MAX);
            ensure!(row < rows, InvalidInput, "index {index} is outside the table's {rows} rows");
            match &inputs[0] {
                Input::Packed(matrix) => matrix.decode_row(row, out),
                other => {
                    let table = other.tensor()?;
                    match table.dtype {
                        DType::F32 => {
                            out.copy_from_slice(&table.data::<f32>()?[row * columns..][..columns]);
                        }
                        DType::Block(format) => {
                            let stride = columns / format.block_len() * format.block_bytes();
                            decode_row(format, &table.bytes[row * stride..][..stride], out);
                        }
                        other => return fail!(UnsupportedOp, "a gather from a table of {other}"),
                    }
                }
            }
        }
        Ok(())
    }

    fn lower_gpu(&self, caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let table = types.input(0)?;
        let [rows, columns] = table[..] else { return Lowered::not_on_gpu("the table is no matrix") };
        let Some(planes) = types.dtype(0).and_then(Planes::of) else {
            return Lowered::not_on_gpu("no kernel reads a table of this type");
        };
        if let Some(why) = planes.too_large(rows * columns, caps.max_binding_bytes) {
            return Lowered::not_on_gpu(why);
        }
        let params = Params {
            columns: columns as u32,
            rows: rows as u32,
            row_words: (columns / planes.values_per_word()) as u32,
            group: planes.group() as u32,
            offset: planes.offset(),
        };
        let mut bindings = planes.bindings(0);
        bindings.extend([(0, Operand::Input(1)), (6, Operand::Output(0))]);
        let n = types.input(1)?.iter().product();
        Lowered::one(Dispatch::new("gather", &planes.features(), bindings, params.bytes(), [n, 1, 1])?)
    }

    fn packs(&self, index: usize, shape: &[usize]) -> Option<Packing> {
        (index == 0 && shape.len() == 2).then_some(Packing::Matrix)
    }
}

params!("gather": columns: u32, rows: u32, row_words: u32, group: u32, offset: f32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    fn reference_gather(table: &Array, indices: &Array) -> Array {
        let rows: Vec<&[f64]> = table.rows().collect();
        let values = indices.values.iter().flat_map(|i| rows[*i as usize].to_vec()).collect();
        Array::new(&[&indices.shape[..], &table.shape[1..]].concat(), values)
    }

    pub fn cases() -> Vec<Case> {
        let mut tables = vec![("activations".to_string(), Given::noise(&[9, 70], 1))];
        for dtype in DType::FLOATS {
            tables.push((dtype.to_string(), Given::weight(dtype, &[11, 256], 2)));
        }
        let case = |(i, (name, table)): (usize, (String, Given))| {
            let shape: &[usize] = if i % 2 == 0 { &[4] } else { &[2, 2] };
            let indices = Given::fed(shape, &[8i32, 0, 3, 3]);
            Case::new(name, Gather, vec![table, indices], Tolerance::of(1e-6), |x| {
                vec![reference_gather(x[0].as_ref().expect("a table"), x[1].as_ref().expect("indices"))]
            })
        };
        tables.into_iter().enumerate().map(case).collect()
    }
}
