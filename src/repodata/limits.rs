//! Bounds on how much of an input we read.

/// Bounds on one repository. The defaults are several times what the largest distribution needs
/// (Fedora: 80,000 packages, primary 300 MB, file lists 1 GB unpacked). Tests use smaller ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Depth of nested XML elements. rpm-md needs 5, comps 5.
    pub xml_depth: usize,
    /// Bytes of one tag with its attributes, of one comment, or of the text of one element.
    pub xml_token: usize,
    /// Bytes of one metadata file on disk, before decompression.
    pub file_bytes: u64,
    /// Bytes of one metadata file after decompression.
    pub unpacked_bytes: u64,
    /// Bytes of `repomd.xml`, of comps, or of `repo.json`.
    pub small_file_bytes: u64,
    /// Packages in one repository, and in all merged repositories together.
    pub packages: usize,
    /// Repositories merged into one. A Koji tag has only a handful of external repositories.
    pub repositories: usize,
    /// Bytes of one line of `rpmlist.jsonl` or `pkglist`.
    pub line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            xml_depth: 32,
            xml_token: 1 << 20,
            file_bytes: 1 << 30,
            unpacked_bytes: 8 << 30,
            small_file_bytes: 64 << 20,
            packages: 1_000_000,
            repositories: 100,
            line_bytes: 1 << 20,
        }
    }
}
