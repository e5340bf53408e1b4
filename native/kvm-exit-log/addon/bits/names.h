// SPDX-License-Identifier: Apache-2.0
// For lists that both languages read: one macro LIST(X) has the names, and these make of it
// what each side needs.
#pragma once

#define EXITLOG_WORD(name) uint64_t name = 0;
#define EXITLOG_NAME(name) #name,
#define EXITLOG_VALUE(name) name,
