//! A model in several files, `name-00001-of-00003.gguf`, as `llama-gguf-split` writes them: each is a GGUF file
//! whose keys `split.*` say which it is, and the first has the metadata of the whole model. Here their headers
//! are joined, and checked to be the shards of one model, in order.

use super::Gguf;
use crate::error::{Error, ErrorKind, Result, ensure, fail};
use crate::formats::TensorInfo;
use std::collections::HashMap;

/// What a file says about its place among the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which one it is, from 0.
    pub number: usize,
    /// How many there are.
    pub count: usize,
    /// Tensors of all shards together, where the file says it.
    pub n_tensors: Option<usize>,
}

impl Gguf {
    /// Which shard the file is; `None` for a model in one file.
    pub fn shard(&self) -> Option<Shard> {
        let count = self.uint("split.count").filter(|&count| count > 1)?;
        let number = self.uint("split.no").unwrap_or(0);
        Some(Shard { number, count, n_tensors: self.uint("split.tensors.count") })
    }

    /// One header of the headers of all files of a model, in order: the metadata of the first, the tensors of
    /// all, each with the index of its file.
    ///
    /// # Errors
    /// `InvalidInput`, naming the shard, when one is missing or out of order or there are too many; `Format`
    /// when one belongs to another model.
    pub fn join(files: Vec<Gguf>) -> Result<Gguf> {
        let places: Vec<Option<Shard>> = files.iter().map(Gguf::shard).collect();
        match places.first() {
            Some(Some(first)) => check_places(*first, &places)?,
            _ => ensure!(
                files.len() == 1,
                InvalidInput,
                "the first of the {} files is a whole model and no shard: give it alone",
                files.len()
            ),
        }
        let mut files = files.into_iter();
        let Some(mut model) = files.next() else { return fail!(Internal, "there is no header to join") };
        let mut owners: HashMap<Box<str>, usize> =
            model.tensors.iter().map(|t| (t.name.clone(), 0)).collect();
        for (index, file) in files.enumerate().map(|(i, file)| (i + 1, file)) {
            for key in ["general.architecture", "general.name"] {
                let names = (file.str(key), model.str(key));
                if let (Some(here), Some(there)) = names {
                    ensure!(
                        here == there,
                        Format,
                        "shard {} is of another model: its {key} is '{here}', and that of shard 1 is '{there}'",
                        index + 1
                    );
                }
            }
            for tensor in file.tensors {
                if let Some(owner) = owners.insert(tensor.name.clone(), index) {
                    let message = format!(
                        "shards {} and {} both have the tensor: one of them is of another model",
                        owner + 1,
                        index + 1
                    );
                    return Err(Error::new(ErrorKind::Format, message).at(&*tensor.name));
                }
                model.tensors.push(TensorInfo { file: index, ..tensor });
            }
        }
        if let Some(Some(Shard { count, n_tensors: Some(n), .. })) = places.first() {
            ensure!(
                model.tensors.len() == *n,
                Format,
                "the {count} shards have {} tensors and should have {n}: one of them is of another model",
                model.tensors.len()
            );
        }
        Ok(model)
    }
}

/// Checks that each file is the shard that its position says.
fn check_places(first: Shard, places: &[Option<Shard>]) -> Result<()> {
    let Shard { count, n_tensors, .. } = first;
    for (index, place) in places.iter().enumerate() {
        let file = index + 1;
        let Some(place) = place else {
            return fail!(InvalidInput, "file {file} is a whole model and no shard of {count}: leave it out");
        };
        ensure!(
            place.count == count && place.n_tensors == n_tensors,
            Format,
            "file {file} is of another model: it says it is one of {} shards with {} tensors, and the first file \
             one of {count} with {}",
            place.count,
            place.n_tensors.unwrap_or(0),
            n_tensors.unwrap_or(0)
        );
        ensure!(
            place.number == index,
            InvalidInput,
            "file {file} is shard {} of {count}: give all shards in order, …-00001-of-{count:05}.gguf first",
            place.number + 1
        );
    }
    let given = places.len();
    ensure!(
        given == count,
        InvalidInput,
        "the model has {count} shards and {given} were given: {} is missing; give all of them in order, as a list",
        format_args!("shard {} (…-{:05}-of-{count:05}.gguf)", given + 1, given + 1)
    );
    Ok(())
}
