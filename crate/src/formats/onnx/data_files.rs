//! The files beside a model that have elements of its tensors. Each comes as a stream, and every byte goes straight to
//! the tensor it is of; what no tensor wants is passed over.
//!
//! A tensor names its file by a path. It is looked up among the files that the caller gives, by the last part of their
//! names, and opens nothing: neither `..` nor a path from the root leads anywhere.

use super::model::Model;
use super::tensor::Outside;
use crate::error::{Error, ErrorKind, Result, ensure, fail};
use crate::tensor::{Chunk, Tensor};
use crate::types::DType;
use std::collections::BTreeMap;

/// Elements in one of the files.
struct Place {
    /// The first tensor that they are of.
    name: String,
    /// Their bytes, once the first has come.
    bytes: Option<Tensor>,
}

/// A file that the model names.
struct DataFile {
    location: String,
    /// By offset and number of bytes.
    places: BTreeMap<(u64, usize), Place>,
    given: bool,
}

impl DataFile {
    fn name(&self) -> &str {
        last_part(&self.location)
    }

    fn end(&self) -> u64 {
        self.places.keys().map(|(offset, n_bytes)| offset + *n_bytes as u64).max().unwrap_or(0)
    }

    /// Fails, naming a tensor that ends behind the file.
    fn fits(&self, len: u64) -> Result<()> {
        let beyond = self.places.iter().find(|((offset, n_bytes), _)| offset + *n_bytes as u64 > len);
        let Some(((offset, n_bytes), place)) = beyond else { return Ok(()) };
        let message = format!(
            "its elements are {n_bytes} bytes from byte {offset} of '{}', which has {len} bytes: give the file that was \
             saved with the model",
            self.location
        );
        Err(Error::new(ErrorKind::Format, message).at(&*place.name))
    }
}

/// The part of a path behind the last separator.
fn last_part(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// The files that a model has elements in.
///
/// Of each that [`wants`](Self::wants) says yes to: [`begin`](Self::begin), [`push`](Self::push) all its bytes in order,
/// [`end`](Self::end). At the end [`check`](Self::check), and [`read`](Self::read).
pub struct DataFiles {
    files: Vec<DataFile>,
    /// Names of files that came and were of no use.
    strange: Vec<String>,
    /// The file whose bytes come, and how many have come.
    current: Option<(usize, u64)>,
}

impl DataFiles {
    /// What a model wants of other files. Fails for tensors as [`Tensor::decode`](super::Tensor::decode) does.
    pub fn of(model: &Model) -> Result<Self> {
        let mut files: Vec<DataFile> = Vec::new();
        let mut index: BTreeMap<String, usize> = BTreeMap::new();
        model.visit_tensors(&mut |tensor| {
            let Some(Outside { location, offset, n_bytes }) = tensor.outside()? else { return Ok(()) };
            let file = *index.entry(location.to_string()).or_insert_with(|| {
                files.push(DataFile { location: location.into(), places: BTreeMap::new(), given: false });
                files.len() - 1
            });
            let place = || Place { name: tensor.name.into(), bytes: None };
            files[file].places.entry((offset, n_bytes)).or_insert_with(place);
            Ok(())
        })?;
        Ok(Self { files, strange: Vec::new(), current: None })
    }

    /// Bytes of all elements in other files.
    pub fn n_bytes(&self) -> u64 {
        self.files.iter().flat_map(|file| file.places.keys()).map(|(_, n_bytes)| *n_bytes as u64).sum()
    }

    /// Whether a file of that name, or path, is wanted. One without a name is where the model names a single file.
    pub fn wants(&mut self, name: Option<&str>) -> Result<bool> {
        let found = self.find(name)?;
        self.strange.extend(name.filter(|_| found.is_none()).map(str::to_string));
        Ok(found.is_some())
    }

    fn find(&self, name: Option<&str>) -> Result<Option<usize>> {
        let Some(name) = name else {
            ensure!(
                self.files.len() < 2,
                InvalidInput,
                "the model wants {}, and one of the parts has no name: give {{ name, data }}",
                self.list(|_| true)
            );
            return Ok((!self.files.is_empty()).then_some(0));
        };
        let mut fit: Vec<usize> =
            (0..self.files.len()).filter(|i| self.files[*i].name() == last_part(name)).collect();
        if fit.len() > 1 {
            // Files of one name in several folders.
            fit.retain(|i| name.ends_with(self.files[*i].location.trim_start_matches("./")));
            fit.sort_by_key(|i| std::cmp::Reverse(self.files[*i].location.len()));
            ensure!(
                !fit.is_empty(),
                InvalidInput,
                "the model wants {}, and '{name}' may be any of them: give {{ name, data }} with the path as name",
                self.list(|file| file.name() == last_part(name))
            );
        }
        Ok(fit.first().copied())
    }

    /// Begins a file that is wanted and `len` bytes long, where that is known. Fails when a tensor lies beyond it, and
    /// when it has come before.
    pub fn begin(&mut self, name: Option<&str>, len: Option<u64>) -> Result<()> {
        let Some(index) = self.find(name)? else {
            return fail!(Internal, "no tensor has its elements in {name:?}");
        };
        let file = &mut self.files[index];
        ensure!(!file.given, InvalidInput, "'{}' was given twice", file.location);
        len.map_or(Ok(()), |len| file.fits(len))?;
        file.given = true;
        self.current = Some((index, 0));
        Ok(())
    }

    /// Takes the next bytes of the file.
    pub fn push(&mut self, chunk: &Chunk) -> Result<()> {
        let Some((index, at)) = &mut self.current else {
            return fail!(Internal, "bytes came before the file that they are of");
        };
        let (from, to) = (*at, *at + chunk.len() as u64);
        *at = to;
        for ((offset, n_bytes), place) in self.files[*index].places.range_mut(..(to, 0)) {
            let (start, stop) = (from.max(*offset), to.min(*offset + *n_bytes as u64));
            if start >= stop {
                continue;
            }
            let bytes = match &mut place.bytes {
                Some(bytes) => bytes,
                none => none.insert(Tensor::zeros(DType::U8, &[*n_bytes]).map_err(|e| e.at(&*place.name))?),
            };
            let into = &mut bytes.view_mut().bytes[(start - offset) as usize..(stop - offset) as usize];
            chunk.slice((start - from) as usize..(stop - from) as usize).copy_to(into);
        }
        Ok(())
    }

    /// Ends the file. Fails, naming a tensor, when bytes of it are missing.
    pub fn end(&mut self) -> Result<()> {
        match self.current.take() {
            Some((index, at)) => self.files[index].fits(at),
            None => Ok(()),
        }
    }

    /// The tensor whose bytes come next.
    pub fn next_tensor(&self) -> Option<&str> {
        let (index, at) = self.current?;
        let mut places = self.files[index].places.iter();
        places.find(|((offset, n_bytes), _)| offset + *n_bytes as u64 > at).map(|(_, place)| &*place.name)
    }

    /// Fails, naming all files that are wanted, when one has not come.
    pub fn check(&self) -> Result<()> {
        if self.files.iter().all(|file| file.given || file.end() == 0) {
            return Ok(());
        }
        let missing = self.list(|file| !file.given);
        let names: Vec<_> = self.files.iter().map(|file| format!("\"{}\"", file.name())).collect();
        let strange = match &self.strange[..] {
            [] => String::new(),
            names => format!(" It has nothing in '{}'.", names.join("', '")),
        };
        fail!(
            InvalidInput,
            "the model has its weights in other files, and {missing} did not come.{strange} Nothing is fetched that you do \
             not name: load a list of the ONNX file and these, [\"model.onnx\", {}], as addresses or Files, or as \
             {{ name, data }} where the data have no name of their own",
            names.join(", ")
        )
    }

    /// The files of which something holds, in words.
    fn list(&self, which: impl Fn(&DataFile) -> bool) -> String {
        let names: Vec<_> =
            self.files.iter().filter(|file| which(file)).map(|file| format!("'{}'", file.location)).collect();
        names.join(", ")
    }

    /// The bytes of a tensor, all of which have come. What several tensors have in common they share.
    pub fn read(&self, location: &str, offset: u64, n_bytes: usize) -> Result<Tensor> {
        let file = self.files.iter().find(|file| file.location == location);
        let place = file.and_then(|file| file.places.get(&(offset, n_bytes)));
        match place.map(|place| &place.bytes) {
            Some(Some(bytes)) => Ok(bytes.clone()),
            Some(None) if n_bytes == 0 => Tensor::zeros(DType::U8, &[0]),
            _ => fail!(Internal, "{n_bytes} bytes at {offset} of '{location}' did not come"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(places: &[(&str, u64, usize)]) -> DataFiles {
        let mut files: Vec<DataFile> = Vec::new();
        for (location, offset, n_bytes) in places {
            if files.iter().all(|file| file.location != *location) {
                files.push(DataFile {
                    location: location.to_string(),
                    places: BTreeMap::new(),
                    given: false,
                });
            }
            let file = files.iter_mut().find(|file| file.location == *location).unwrap();
            file.places.insert((*offset, *n_bytes), Place { name: format!("t{offset}"), bytes: None });
        }
        DataFiles { files, strange: Vec::new(), current: None }
    }

    #[test]
    fn bytes_go_where_they_belong_however_they_are_cut() {
        let places = [("d/w.bin", 2, 5), ("d/w.bin", 2, 9), ("d/w.bin", 11, 3), ("d/w.bin", 40, 0)];
        let bytes: Vec<u8> = (0..45).collect();
        for step in 1..46 {
            let mut data = files(&places);
            assert!(data.wants(Some("https://x/y/w.bin")).unwrap() && data.wants(None).unwrap());
            assert!(!data.wants(Some("v.bin")).unwrap() && data.check().is_err());
            data.begin(None, (step % 2 == 0).then_some(45)).unwrap();
            bytes.chunks(step).for_each(|piece| data.push(&piece.into()).unwrap());
            data.end().unwrap();
            data.check().unwrap();
            for (location, offset, n_bytes) in places {
                let read = data.read(location, offset, n_bytes).unwrap();
                assert_eq!(read.bytes(), &bytes[offset as usize..][..n_bytes]);
            }
            assert!(data.begin(None, None).unwrap_err().message().contains("given twice"));
        }
    }

    #[test]
    fn what_is_short_or_missing_is_named() {
        let mut data = files(&[("a.bin", 4, 4), ("../b.bin", 0, 1)]);
        let error = data.check().unwrap_err();
        assert!(
            ["'a.bin', '../b.bin'", "\"a.bin\", \"b.bin\""].iter().all(|text| error.message().contains(text))
        );
        let error = data.begin(Some("a.bin"), Some(7)).unwrap_err();
        assert_eq!((error.kind(), error.node()), (ErrorKind::Format, Some("t4")));
        data.begin(Some("a.bin"), None).unwrap();
        data.push(&[0; 7][..].into()).unwrap();
        assert_eq!(data.next_tensor(), Some("t4"));
        assert!(data.end().unwrap_err().message().contains("has 7 bytes"));
        assert!(data.wants(None).unwrap_err().message().contains("{ name, data }"));
        assert!(!data.wants(Some("c.bin")).unwrap());
        let error = data.check().unwrap_err();
        assert!(
            error.message().contains("'../b.bin' did not come") && error.message().contains("in 'c.bin'")
        );
    }

    #[test]
    fn files_of_one_name_are_told_apart_by_their_folders() {
        let mut data = files(&[("a/w", 0, 1), ("b/w", 0, 1)]);
        assert!(data.wants(Some("w")).unwrap_err().message().contains("'a/w', 'b/w'"));
        data.begin(Some("/models/b/w"), None).unwrap();
        data.push(&[7][..].into()).unwrap();
        assert_eq!(data.read("b/w", 0, 1).unwrap().bytes(), [7]);
        assert!(data.read("a/w", 0, 1).is_err());
    }
}
