// SPDX-License-Identifier: Apache-2.0

package report

import "time"

// Times that JSON can be written with. An envelope or certificate can have a
// later one: the end of the year 9999 in the zone of twelve hours ago.
var (
	firstTime = time.Time{}
	lastTime  = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
)

// Time returns a time in UTC that a report can be written with: t itself, or, as
// JSON knows years of four digits alone, the nearest one that it knows.
func Time(t time.Time) time.Time {
	switch {
	case t.Before(firstTime):
		return firstTime
	case t.After(lastTime):
		return lastTime
	}
	return t.UTC()
}
