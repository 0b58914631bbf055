import { mount } from "svelte";
import Rooms from "./Rooms.svelte";

mount(Rooms, { target: document.getElementById("app") });
