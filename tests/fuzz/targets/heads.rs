#![no_main]
caseward_fuzz::target!(caseward_store::fuzz::heads);
