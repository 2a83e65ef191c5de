//! `/api/v2`: everything that the pages show, for programs.
//!
//! Each operation is one function with its address, documentation, permission and types beside it.
//! The description of the API (`openapi`) and its page (`viewer`) are made from the same table.

pub(in crate::web) mod answer;
mod causes;
mod collections;
mod cursor;
mod events;
mod groups;
mod openapi;
mod operation;
mod package;
mod packages;
mod rebuilds;
mod service;
mod stream;
mod viewer;

pub(in crate::web) use groups::GroupSummary;
pub(in crate::web) use openapi::document;
pub(in crate::web) use operation::Described;
pub(in crate::web) use stream::STREAMS_MAX;
pub(in crate::web) use viewer::show as viewer;

/// Version of the API. The first number changes when programs that use it must change.
pub(in crate::web) const VERSION: &str = "2.0.0";

/// All operations, in the order of descriptions.
pub(in crate::web) const OPERATIONS: &[Described] = &[
    Described::shows::<packages::Packages>(),
    Described::shows::<packages::InAllCollections>(),
    Described::shows::<package::OnePackage>(),
    Described::shows::<rebuilds::Changes>(),
    Described::shows::<collections::Collections>(),
    Described::shows::<collections::OneCollection>(),
    Described::shows::<collections::Repositories>(),
    Described::shows::<collections::Compare>(),
    Described::shows::<groups::Groups>(),
    Described::shows::<groups::OneGroup>(),
    Described::shows::<causes::Causes>(),
    Described::shows::<causes::OneCause>(),
    Described::shows::<causes::Update>(),
    Described::shows::<rebuilds::Running>(),
    Described::shows::<rebuilds::Queue>(),
    Described::reads::<events::Events>(),
    Described::reads::<events::OneEvent>(),
    stream::Stream::DESCRIBED,
    Described::reads::<events::EventsOfPackage>(),
    Described::reads::<events::EventsOfCollection>(),
    Described::reads::<service::Status>(),
    service::Description::DESCRIBED,
];
