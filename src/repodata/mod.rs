//! rpm-md repositories: repomd, primary, filelists on demand, comps; bounded decompression.
