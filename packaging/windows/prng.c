// SPDX-License-Identifier: Apache-2.0

// bcryptprimitives.dll of Windows, as far as Go's runtime needs it: wine 8.0 has none.

#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length); // RtlGenRandom

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length)
{
	return SystemFunction036(data, (ULONG)length);
}
