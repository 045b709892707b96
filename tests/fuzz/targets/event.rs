#![no_main]
caseward_fuzz::target!(caseward_events::fuzz::event);
