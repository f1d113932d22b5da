//! Elements at regular distances: what transposing, slicing, broadcasting and repeating have in common. A
//! destination is written in order; each element comes from `offset + Σ index·stride` of the source.

/// Distances, in elements, between neighbours along each dimension of a row-major tensor.
pub fn row_major(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i] as isize;
    }
    strides
}

/// Strides by which a tensor of `shape` is read as one of `out`, to which it broadcasts: 0 where it repeats.
pub fn broadcast(shape: &[usize], out: &[usize]) -> Vec<isize> {
    let missing = out.len() - shape.len();
    let strides = row_major(shape);
    (0..out.len())
        .map(|i| if i < missing || shape[i - missing] == 1 { 0 } else { strides[i - missing] })
        .collect()
}

/// Calls `row` for each row of the last dimension, with the position of its first element in each of `N`
/// sources of these strides. The last dimension's strides are the caller's.
pub fn for_each_row<const N: usize>(
    shape: &[usize],
    strides: [&[isize]; N],
    mut row: impl FnMut([isize; N]),
) {
    let Some((_, outer)) = shape.split_last() else { return row([0; N]) };
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0usize; outer.len()];
    let mut at = [0isize; N];
    loop {
        row(at);
        let mut axis = outer.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            at.iter_mut().zip(strides).for_each(|(at, strides)| *at += strides[axis]);
            if index[axis] < outer[axis] {
                break;
            }
            at.iter_mut().zip(strides).for_each(|(at, strides)| *at -= strides[axis] * outer[axis] as isize);
            index[axis] = 0;
        }
    }
}

/// Writes `dst`, of `shape`, from `src` by `strides`, beginning at element `offset`. Elements are of `size` bytes.
/// Every position that the strides reach must be within `src`.
pub fn copy(size: usize, src: &[u8], offset: isize, strides: &[isize], dst: &mut [u8], shape: &[usize]) {
    match size {
        1 => copy_as::<u8>(src, offset, strides, dst, shape),
        2 => copy_as::<u16>(src, offset, strides, dst, shape),
        4 => copy_as::<u32>(src, offset, strides, dst, shape),
        _ => copy_as::<u64>(src, offset, strides, dst, shape),
    }
}

fn copy_as<T: bytemuck::Pod>(src: &[u8], offset: isize, strides: &[isize], dst: &mut [u8], shape: &[usize]) {
    let (src, dst): (&[T], &mut [T]) = (bytemuck::cast_slice(src), bytemuck::cast_slice_mut(dst));
    let (shape, [strides]) = merged(shape, [strides]);
    let n = shape.last().copied().unwrap_or(1);
    let step = strides.last().copied().unwrap_or(1);
    let mut rows = dst.chunks_exact_mut(n.max(1));
    for_each_row(&shape, [&strides], |[at]| {
        let Some(row) = rows.next() else { return };
        let at = offset + at;
        match step {
            1 => row.copy_from_slice(&src[at as usize..][..n]),
            0 => row.fill(src[at as usize]),
            _ => row.iter_mut().enumerate().for_each(|(i, y)| *y = src[(at + i as isize * step) as usize]),
        }
    });
}

/// The same walk with as few dimensions as possible: neighbours that follow each other in all sources are one.
pub fn merged<const N: usize>(shape: &[usize], strides: [&[isize]; N]) -> (Vec<usize>, [Vec<isize>; N]) {
    let mut sizes: Vec<usize> = Vec::new();
    let mut out = [(); N].map(|()| Vec::<isize>::new());
    for (i, &n) in shape.iter().enumerate().filter(|(_, n)| **n != 1) {
        let follows = |own: &Vec<isize>, strides: &[isize]| own.last() == Some(&(strides[i] * n as isize));
        match sizes.last_mut() {
            Some(last) if out.iter().zip(strides).all(|(own, strides)| follows(own, strides)) => {
                *last *= n;
                out.iter_mut().zip(strides).for_each(|(own, strides)| {
                    own.pop();
                    own.push(strides[i]);
                });
            }
            _ => {
                sizes.push(n);
                out.iter_mut().zip(strides).for_each(|(own, strides)| own.push(strides[i]));
            }
        }
    }
    (sizes, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transpose_a_reversal_and_a_repetition() {
        let src: Vec<u32> = (0..6).collect();
        let run = |offset, strides: &[isize], shape: &[usize]| {
            let mut dst = vec![99u32; shape.iter().product()];
            copy(4, bytemuck::cast_slice(&src), offset, strides, bytemuck::cast_slice_mut(&mut dst), shape);
            dst
        };
        assert_eq!(run(0, &[1, 3], &[3, 2]), [0, 3, 1, 4, 2, 5]);
        assert_eq!(run(5, &[-3, -1], &[2, 3]), [5, 4, 3, 2, 1, 0]);
        assert_eq!(run(0, &broadcast(&[2, 1], &[2, 2, 3]), &[2, 2, 3]), [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]);
        assert_eq!(run(4, &[], &[]), [4]);
        assert_eq!(run(0, &[3, 1], &[0, 3]), [0u32; 0]);
    }
}
