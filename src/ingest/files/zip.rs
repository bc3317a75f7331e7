//! As much of the ZIP format as office documents need: single files, deflated or stored, read as a stream.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use flate2::Crc;
use flate2::read::DeflateDecoder;

/// Bytes of the end record, and the longest comment after it.
const END: usize = 22;
const LONGEST_COMMENT: u64 = u16::MAX as u64;
/// Most bytes of the directory: some hundred thousand files.
const MAX_DIRECTORY: u32 = 32 << 20;
const ENTRY: usize = 46;
const LOCAL: u64 = 30;

/// A file within the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: Vec<u8>,
    encrypted: bool,
    method: u16,
    crc: u32,
    packed: u32,
    offset: u32,
}

pub(super) struct Archive {
    file: File,
    entries: Vec<Entry>,
}

impl Archive {
    /// # Errors
    /// It is no ZIP archive, or one that is broken.
    pub fn open(mut file: File) -> Result<Self, String> {
        let failed = |error: io::Error| format!("it cannot be read: {error}");
        let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let tail_start = size.saturating_sub(END as u64 + LONGEST_COMMENT);
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(tail_start)).map_err(failed)?;
        (&mut file).take(END as u64 + LONGEST_COMMENT).read_to_end(&mut tail).map_err(failed)?;
        let end = tail.windows(END).rposition(|window| window.starts_with(b"PK\x05\x06"));
        let end = &tail[end.ok_or("it is no ZIP archive, or it is cut short")?..];
        let (length, offset) = (number32(end, 12), number32(end, 16));
        if offset == u32::MAX || length > MAX_DIRECTORY || u64::from(offset) + u64::from(length) > size {
            return Err("the directory of its ZIP archive is broken, or too large".to_owned());
        }
        let mut directory = vec![0; length as usize];
        file.seek(SeekFrom::Start(offset.into())).and_then(|_| file.read_exact(&mut directory)).map_err(failed)?;
        let mut entries = Vec::new();
        let mut rest = &directory[..];
        while rest.len() >= ENTRY && rest.starts_with(b"PK\x01\x02") {
            let length = ENTRY + [28, 30, 32].map(|place| usize::from(number16(rest, place))).iter().sum::<usize>();
            let name =
                rest.get(ENTRY..ENTRY + usize::from(number16(rest, 28))).ok_or("the directory of its ZIP archive is broken")?;
            entries.push(Entry {
                name: name.to_owned(),
                encrypted: number16(rest, 8) & 1 == 1,
                method: number16(rest, 10),
                crc: number32(rest, 16),
                packed: number32(rest, 20),
                offset: number32(rest, 42),
            });
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(Self { file, entries })
    }

    /// A file of the archive, unpacked while it is read; none if there is none of that name. Reading fails where the content does not have
    /// its checksum, and behind `limit` bytes.
    ///
    /// # Errors
    /// The file is encrypted, or packed in a way that is not known.
    pub fn part(&mut self, name: &str, limit: u64) -> Result<Option<impl Read>, String> {
        let Some(entry) = self.entries.iter().find(|entry| entry.name == name.as_bytes()) else {
            return Ok(None);
        };
        if entry.encrypted {
            return Err("it is encrypted".to_owned());
        }
        let failed = |error: io::Error| format!("{name} in it cannot be read: {error}");
        let file = &mut self.file;
        let mut local = [0; LOCAL as usize];
        file.seek(SeekFrom::Start(entry.offset.into())).and_then(|_| file.read_exact(&mut local)).map_err(failed)?;
        if !local.starts_with(b"PK\x03\x04") {
            return Err(format!("{name} in it is not where the directory of its ZIP archive says"));
        }
        let skip = i64::from(number16(&local, 26)) + i64::from(number16(&local, 28));
        file.seek(SeekFrom::Current(skip)).map_err(failed)?;
        let packed = BufReader::new(file.take(entry.packed.into()));
        let content: Box<dyn Read + '_> = match entry.method {
            0 => Box::new(packed),
            8 => Box::new(DeflateDecoder::new(packed)),
            other => return Err(format!("{name} in it is packed by method {other}, which is not known")),
        };
        Ok(Some(Part { content, crc: Crc::new(), expected: entry.crc, left: limit, limit }))
    }
}

struct Part<'a> {
    content: Box<dyn Read + 'a>,
    crc: Crc,
    expected: u32,
    left: u64,
    limit: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        if read == 0 && !buffer.is_empty() && self.crc.sum() != self.expected {
            return Err(io::Error::other("its content does not have its checksum"));
        }
        self.crc.update(&buffer[..read]);
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            let reason = format!("it unpacks to more than {} bytes", self.limit);
            io::Error::other(reason)
        })?;
        Ok(read)
    }
}

fn number16(bytes: &[u8], place: usize) -> u16 {
    u16::from_le_bytes([bytes[place], bytes[place + 1]])
}

fn number32(bytes: &[u8], place: usize) -> u32 {
    u32::from(number16(bytes, place)) | u32::from(number16(bytes, place + 2)) << 16
}
