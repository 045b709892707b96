#![no_main]
caseward_fuzz::target!(caseward_notification::fuzz::template);
