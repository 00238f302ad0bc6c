//! The one layer: a compressed tar file that is the same whenever it is made of the same files.

use std::io::Write;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// Files of the image: readable and executable by everybody, writable only by root, whom the image is not
/// run as.
const MODE: u32 = 0o755;

/// A tar file of these files.
pub fn tar<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>, mode: u32) -> Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for (path, content) in files {
        // Times, owners and names of users are zero or empty.
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(u64::try_from(content.len())?);
        builder.append_data(&mut header, path, content)?;
    }
    Ok(builder.into_inner()?)
}

/// The layer uncompressed, whose digest is its identity, and compressed, as it is transferred.
pub fn layer(files: &[(&str, Vec<u8>)]) -> Result<(Vec<u8>, Vec<u8>)> {
    let tar = tar(files.iter().map(|(name, content)| (*name, content.as_slice())), MODE)?;
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(&tar)?;
    let compressed = gzip.finish()?;
    Ok((tar, compressed))
}
