//! Questions about a whole log. [`audit`] derives every decision again. [`broken`] tells what
//! broke, which update broke it, and what recovered.

pub mod audit;
pub mod broken;
