//! What is asked of a log as a whole: [`audit`] derives every decision again, [`broken`] tells what broke, by which
//! update, and what recovered.

pub mod audit;
pub mod broken;
