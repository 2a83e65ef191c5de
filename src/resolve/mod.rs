//! Buildroots: which packages a source package would be built with, and why not.
