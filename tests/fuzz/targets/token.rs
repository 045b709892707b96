#![no_main]
caseward_fuzz::target!(caseward_server::fuzz::token);
