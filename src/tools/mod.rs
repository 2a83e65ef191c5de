//! Questions about a whole log. [`audit`] derives every decision again. [`broken`] tells what
//! broke, which update broke it, and what recovered. [`causes`] tells which updates broke what, and
//! the suspects of failed builds.

pub mod audit;
pub mod broken;
pub mod causes;
