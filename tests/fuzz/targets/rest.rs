#![no_main]
caseward_fuzz::target!(caseward_gateway::fuzz::rest);
